@testable import Hypervisor
import Testing

/// Numbers of the kernel's <asm/kvm.h> of arm64 and Documentation/virt/kvm/devices/arm-vgic*.rst, vcpu.rst.
@Suite struct GICSetupTests {
    private let layout = GICLayout(
        distributor: 0x800_0000, cpuInterface: 0x801_0000, its: 0x808_0000,
        redistributors: [.init(base: 0x80A_0000, count: 123), .init(base: 0x40_0000_0000, count: 256)], lines: 256)

    private func words(_ attributes: [KVMDeviceAttribute]) -> [[UInt64]] {
        attributes.map { attribute in
            let value: [UInt64] = switch attribute.value {
            case .none: []
            case .word32(let word): [UInt64(word)]
            case .word64(let word): [word]
            }
            return [UInt64(attribute.group), attribute.attribute] + value
        }
    }

    @Test func v3_tellsTheDistributorThenEachRegionThenStarts() throws {
        #expect(try words(GICSetup.v3(layout, hasRegions: true)) == [
            [0, 2, 0x800_0000], [0, 5, 0x07B0_0000_080A_0000], [0, 5, 0x1000_0040_0000_0001], [3, 0, 256], [4, 0],
        ])
        #expect(words(GICSetup.its(at: 0x808_0000)) == [[0, 4, 0x808_0000], [4, 0]])
    }

    @Test func v3_kernelWithoutRegions_canHaveOneOnly() throws {
        var small = layout
        #expect(throws: HypervisorError.tooManyVCPUs(limit: 123)) { try GICSetup.v3(small, hasRegions: false) }
        small.redistributors.removeLast()
        #expect(try words(GICSetup.v3(small, hasRegions: false)) == [[0, 2, 0x800_0000], [0, 3, 0x80A_0000], [3, 0, 256], [4, 0]])
        small.redistributors.removeLast()
        #expect(throws: HypervisorError.tooManyVCPUs(limit: 0)) { try GICSetup.v3(small, hasRegions: false) }
    }

    @Test func v2_hasEightVCPUs() throws {
        #expect(try words(GICSetup.v2(layout, vcpus: 8)) == [[0, 0, 0x800_0000], [0, 1, 0x801_0000], [3, 0, 256], [4, 0]])
        #expect(throws: HypervisorError.tooManyVCPUs(limit: 8)) { try GICSetup.v2(layout, vcpus: 9) }
    }

    @Test func check_layoutsThatCannotBe_areRefused() throws {
        try GICSetup.check(layout, vcpus: 379)
        #expect(throws: HypervisorError.tooManyVCPUs(limit: 379)) { try GICSetup.check(layout, vcpus: 380) }
        for lines: UInt32 in [0, 32, 100, 1024, .max] {
            var odd = layout
            odd.lines = lines
            #expect(throws: HypervisorError.self, "\(lines)") { try GICSetup.check(odd, vcpus: 1) }
        }
        for region in [GICLayout.Redistributors(base: 0x80A_1000, count: 1), .init(base: 1 << 52, count: 1), .init(base: 0, count: 0),
                       .init(base: 0, count: 4096), .init(base: 0, count: -1)] {
            var odd = layout
            odd.redistributors = [region]
            #expect(throws: HypervisorError.self) { try GICSetup.check(odd, vcpus: 1) }
        }
    }

    @Test func vcpuAttributes_areTheKernels() {
        #expect(words([.pmuInterrupt(23), .pmuInitialize, .stolenTime(0x90A_0040)]) == [[0, 0, 23], [0, 1], [2, 0, 0x90A_0040]])
    }

    @Test func numbers_areTheKernels() {
        #expect(AArch64Numbers.irqLine(gsi: 0) == 0x100_0020)
        #expect(AArch64Numbers.irqLine(gsi: 223) == 0x100_00FF)
        #expect(AArch64Numbers.irqLine(gsi: .max) == 0x100_001F)
        #expect(AArch64Numbers.interruptLines(ofINTIDs: 256) == 224)
        #expect(AArch64Numbers.interruptLines(ofINTIDs: 31) == 0)
        #expect(AArch64Numbers.vcpuFeatures(AArch64CPUFeatures(), startsRunning: true) == 0b00100)
        #expect(AArch64Numbers.vcpuFeatures(AArch64CPUFeatures(pmu: true), startsRunning: false) == 0b01101)
        #expect(AArch64Numbers.vcpuFeatures(AArch64CPUFeatures(pmu: true, sve: true), startsRunning: true) == 0b11100)
    }

    @Test func machineType_isFortyBitsOrWhatTheHostHas() {
        for (limit, argument, bits) in [(0, UInt(0), 40), (48, 40, 40), (52, 40, 40), (40, 40, 40), (36, 36, 36)] {
            #expect(AArch64Numbers.machineType(addressBitLimit: limit) == (argument, bits))
        }
    }
}
