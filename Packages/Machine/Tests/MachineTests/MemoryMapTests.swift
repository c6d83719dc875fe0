import AddressSpace
import Foundation
import Hypervisor
import MachineManager
import Testing

@testable import Machine

/// Guest physical memory of both architectures.
@Suite struct MemoryMapTests {
    private static let gib: UInt64 = 1 << 30

    // MARK: aarch64

    private func map(_ sizes: [UInt64], vcpus: Int = 1, bits: Int = 40, pageSize: UInt64 = 4096) throws(MemoryMapError) -> AArch64MemoryMap {
        try AArch64MemoryMap(nodes: sizes, vcpus: vcpus, addressBits: bits, pageSize: pageSize)
    }

    private func refusal(_ sizes: [UInt64], vcpus: Int = 1, bits: Int = 40, pageSize: UInt64 = 4096) -> String {
        do throws(MemoryMapError) { return "\(try map(sizes, vcpus: vcpus, bits: bits, pageSize: pageSize).ram)" } catch { return error.description }
    }

    @Test func ram_beginsAt1GiB_andIsOnePartForEachNode() throws {
        #expect(AArch64MemoryMap.ramParts(sizes: [512 * Self.gib]) == [RAMPart(name: "ram", base: Self.gib, size: 512 * Self.gib, memory: 0, offset: 0)])
        let parts = AArch64MemoryMap.ramParts(sizes: [Self.gib, 4096, 2 * Self.gib])
        #expect(parts.map(\.base) == [Self.gib, 2 * Self.gib, 2 * Self.gib + 4096] && parts.map(\.memory) == [0, 1, 2])
        #expect(parts.allSatisfy { $0.offset == 0 } && parts.map(\.name) == ["ram-0", "ram-1", "ram-2"])
        #expect(try map([512 * Self.gib]).ram == Self.gib..<513 * Self.gib)
    }

    @Test func redistributors_for123vCPUsAreBelowRAM_furtherOnesAt256GiB() throws {
        let few = try map([Self.gib], vcpus: 123)
        #expect(few.highRedistributors == nil && few.memoryDevices.taken.isEmpty)
        #expect(few.gic.redistributors == [.init(base: 0x80A_0000, count: 123)])
        #expect(few.gic.distributor == 0x800_0000 && few.gic.cpuInterface == 0x801_0000 && few.gic.its == 0x808_0000 && few.gic.lines == 256)
        let many = try map([Self.gib], vcpus: 254)
        #expect(many.gic.redistributors == [.init(base: 0x80A_0000, count: 123), .init(base: 256 * Self.gib, count: 131)])
        #expect(many.memoryDevices == MemoryDeviceArea(range: 2 * Self.gib..<1 << 40, taken: [FixedRange("further GICv3 redistributors", at: 256 * Self.gib, size: 32 << 20)]))
        // Behind RAM where it reaches so far, or where addresses do not.
        #expect(try map([512 * Self.gib], vcpus: 124).gic.redistributors[1] == .init(base: 513 * Self.gib, count: 1))
        #expect(try map([255 * Self.gib], vcpus: 124).gic.redistributors[1].base == 256 * Self.gib)
        #expect(try map([255 * Self.gib + 4096], vcpus: 124).gic.redistributors[1].base == 256 * Self.gib + (32 << 20))
        #expect(try map([Self.gib + 4096], vcpus: 124, bits: 36).gic.redistributors[1].base == 2 * Self.gib + (32 << 20))
        #expect(refusal([3 * Self.gib], vcpus: 124, bits: 32)
            == "-smp: below 0x100000000, where the addresses of guests of this host end, is no room for the interrupt controllers of so many vCPUs")
    }

    @Test func ramThatTheHostCannotGive_isRefused() {
        #expect(refusal([63 * Self.gib], bits: 36) == "\(Self.gib..<64 * Self.gib)")
        #expect(refusal([64 * Self.gib], bits: 36) == "-m: RAM would end at 0x1040000000; guests of this host have addresses below 0x1000000000 only")
        #expect(refusal([.max - 4095, .max - 4095]) == "-m: RAM would end at 0xffffffffffffffff; guests of this host have addresses below 0x10000000000 only")
        #expect(refusal([Self.gib, 4096], pageSize: 65536) == "-m: 4 KiB are not a multiple of this host's pages of 64 KiB")
    }

    @Test func stolenTime_hasRoomForAllVCPUs_andItsPagesAreItsOwn() {
        let range = AArch64MemoryMap.stolenTime.range
        #expect(AArch64MemoryMap.stolenTime(of: 0) == range.lowerBound && AArch64MemoryMap.stolenTime(of: 253) + 64 <= range.upperBound)
        #expect(AArch64MemoryMap.stolenTime(of: 7) == range.lowerBound + 448)
        #expect(range.lowerBound % 65536 == 0 && range.upperBound % 65536 == 0)
    }

    // MARK: Both

    /// What random machines consist of. `limit`: where addresses end.
    private struct Layout {
        var ranges: [FixedRange]
        let devices: MemoryDeviceArea
        let limit: UInt64
    }

    private func x86(_ sizes: [UInt64], _ bits: Int) -> Layout? {
        let parts = X86MemoryMap.ramParts(sizes: sizes)
        let (limit, end): (UInt64, UInt64) = (1 << UInt64(bits), parts.last.map { $0.base + $0.size } ?? 0)
        guard end <= limit else { return nil }
        return Layout(ranges: X86MemoryMap.fixed + parts.map(FixedRange.init), devices: X86MemoryMap.memoryDevices(ramEnd: end, limit: limit), limit: limit)
    }

    private func aarch64(_ sizes: [UInt64], _ bits: Int, _ vcpus: Int) -> Layout? {
        guard let map = try? map(sizes, vcpus: vcpus, bits: bits) else { return nil }
        let redistributors = map.gic.redistributors.dropFirst().map { FixedRange("high", at: $0.base, size: UInt64($0.count) * GICLayout.Redistributors.sizeOfOne) }
        // Those below RAM are in the inventory, which must have room for them.
        let low = map.gic.redistributors[0]
        #expect(low.base == AArch64MemoryMap.redistributors.range.lowerBound)
        #expect(low.base + UInt64(low.count) * GICLayout.Redistributors.sizeOfOne <= AArch64MemoryMap.redistributors.range.upperBound)
        #expect(map.gic.redistributors.reduce(0) { $0 + $1.count } == vcpus)
        return Layout(
            ranges: AArch64MemoryMap.fixed + redistributors + AArch64MemoryMap.ramParts(sizes: sizes).map(FixedRange.init), devices: map.memoryDevices,
            limit: 1 << UInt64(bits))
    }

    /// Whatever machine it is: RAM, memory devices, registers, virtio windows, redistributors and stolen time are side by side and below the limit.
    @Test func nothingOverlaps() throws {
        var random = SystemRandomNumberGenerator()
        var checked = (x86: 0, aarch64: 0, devices: 0)
        for _ in 0..<2000 {
            let unit: UInt64 = [4096, 1 << 20, Self.gib].randomElement(using: &random) ?? 4096
            let sizes = (0..<Int.random(in: 1...8, using: &random)).map { _ in UInt64.random(in: 1...(unit == Self.gib ? 64 : 4096), using: &random) * unit }
            let (bits, vcpus) = (Int.random(in: 32...52, using: &random), Int.random(in: 1...254, using: &random))
            let layouts = (x86: x86(sizes, bits), aarch64: aarch64(sizes, bits, vcpus))
            checked.x86 += layouts.x86 == nil ? 0 : 1
            checked.aarch64 += layouts.aarch64 == nil ? 0 : 1
            for var layout in [layouts.x86, layouts.aarch64].compactMap(\.self) {
                let requests = (0..<Int.random(in: 0...6, using: &random)).map { index in
                    let alignment: UInt64 = (2 << 20) << UInt64.random(in: 0...8, using: &random)
                    let size = UInt64.random(in: 1...1 << 12, using: &random) * alignment
                    let wish = layout.devices.range.isEmpty || Int.random(in: 0...3, using: &random) > 0 ? nil : UInt64.random(in: layout.devices.range, using: &random) & ~(alignment - 1)
                    return MemoryDevicePlacement.Request(id: "\(index)", size: size, alignment: alignment, generousAlignment: max(alignment, 128 << 20), address: wish)
                }
                if let places = try? MemoryDevicePlacement.place(requests, in: layout.devices) {
                    checked.devices += places.count
                    layout.ranges += zip(requests, places).map { FixedRange("device \($0.id)", at: $1, size: $0.size) }
                }
                let ranges = layout.ranges.sorted { $0.range.lowerBound < $1.range.lowerBound }
                for (low, high) in zip(ranges, ranges.dropFirst()) {
                    #expect(low.range.upperBound <= high.range.lowerBound, "\(low) and \(high): \(sizes), \(bits) bits, \(vcpus) vCPUs")
                }
                #expect(ranges.allSatisfy { !$0.range.isEmpty && $0.range.upperBound <= layout.limit }, "\(sizes), \(bits) bits, \(vcpus) vCPUs")
            }
        }
        #expect(checked.x86 > 500 && checked.aarch64 > 500 && checked.devices > 1000, "\(checked)")
    }

    /// Devices say by themselves where they are; the inventories say the same.
    @Test func inventories_areTrueOfTheMachines() throws {
        for (platform, inventory) in [(X86Platform.self as any MachinePlatform.Type, X86MemoryMap.fixed), (AArch64Platform.self, AArch64MemoryMap.fixed)] {
            let fixture = try Fixture(platform)
            fixture.config.cpu.hasStealTime = platform.architecture == .aarch64
            fixture.config.serial = .init(id: "s", backend: .file(path: fixture.folder.appending(path: "s").path(percentEncoded: false)))
            let machine = try fixture.started()
            defer { machine.shutDown() }
            let found = machine.memory.flatRanges()
            #expect(found.count >= 8)
            for range in found where range.kind != .ram {
                #expect(inventory.contains { $0.range.contains(range.base) && range.end <= $0.range.upperBound }, "\(range.region.name)")
            }
        }
    }
}

extension FixedRange {
    fileprivate init(_ part: RAMPart) { self.init(part.name, at: part.base, size: part.size) }
}
