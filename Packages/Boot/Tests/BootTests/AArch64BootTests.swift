import AddressSpace
import Boot
import BootCommon
import BootTestSupport
import Foundation
import Testing

@Suite struct AArch64BootTests {
    /// A directory of the test's own and RAM at 1 GiB that nobody has written to.
    private final class Fixture {
        static let ramBase: UInt64 = 1 << 30
        static let kernel: UInt64 = ramBase + 2 << 20
        let directory: URL
        let space = AddressSpace(name: "memory", size: 1 << 40)
        let ram: UInt64

        init(ram: UInt64 = 64 << 20) throws {
            self.ram = ram
            directory = FileManager.default.temporaryDirectory.appendingPathComponent("boot-\(UUID().uuidString)")
            try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
            let memory = try HostMemory.anonymous(size: ram)
            try space.root.add(
                try Region.ram(name: "ram", size: ram, memory: memory, memoryOffset: 0), at: Self.ramBase)
        }

        deinit { try? FileManager.default.removeItem(at: directory) }

        func file(_ name: String, _ bytes: [UInt8]) throws -> String {
            let url = directory.appendingPathComponent(name)
            try Data(bytes).write(to: url)
            return url.path
        }

        func load(_ kernel: String, initrd: String? = nil) throws(BootError) -> AArch64BootResult {
            try AArch64Boot.load(
                AArch64BootConfiguration(kernelPath: kernel, initrdPath: initrd, ramBase: Self.ramBase, ramSize: ram),
                into: space.memory)
        }

        func bytes(at address: UInt64, count: Int) throws -> [UInt8] {
            try space.memory.bytes(at: address, count: UInt64(count))
        }
    }

    @Test func imageAndInitrd_landInGuestMemory() throws {
        let fixture = try Fixture()
        let kernel = SyntheticAArch64Image().bytes
        let initrd = (0..<5000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        let result = try fixture.load(try fixture.file("Image", kernel), initrd: try fixture.file("initrd", initrd))
        #expect(result.entry == 0x4020_0000)
        #expect(result.initrd == GuestRange(start: 0x43ff_e000, count: 5000))
        #expect(result.deviceTree == GuestRange(start: 0x4000_0000, count: 2 << 20))
        #expect(try fixture.bytes(at: 0x4020_0000, count: 4097) == kernel + [0])
        #expect(try fixture.bytes(at: 0x43ff_e000, count: 5000) == initrd)
        #expect(try fixture.bytes(at: 0x4000_0000, count: 0x1_0000).allSatisfy { $0 == 0 })
    }
}
