import AddressSpace
@testable import Boot
import BootTestSupport
import BootX86
import Foundation
import Testing

@Suite struct X86BootTests {
    /// A directory of the test's own and RAM that nobody has written to.
    private final class Fixture {
        let directory: URL
        let space = AddressSpace(name: "memory", size: 1 << 40)
        let layout: X86MemoryLayout

        init(ram: UInt64 = 64 << 20) throws {
            directory = FileManager.default.temporaryDirectory.appendingPathComponent("boot-\(UUID().uuidString)")
            try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
            layout = try X86MemoryLayout(ramSize: ram)
            let memory = try HostMemory.anonymous(size: ram)
            try space.root.add(
                try Region.ram(name: "ram", size: ram, memory: memory, memoryOffset: 0), at: 0)
        }

        deinit { try? FileManager.default.removeItem(at: directory) }

        func file(_ name: String, _ bytes: [UInt8]) throws -> String {
            let url = directory.appendingPathComponent(name)
            try Data(bytes).write(to: url)
            return url.path
        }

        func configuration(
            _ kernel: String, initrd: String? = nil, commandLine: String = "console=ttyS0", fresh: Bool = true
        ) -> X86BootConfiguration {
            X86BootConfiguration(
                kernelPath: kernel, initrdPath: initrd, commandLine: commandLine, layout: layout, apicIDs: [0, 1],
                memoryIsFresh: fresh)
        }

        func bytes(at address: UInt64, count: Int) throws -> [UInt8] {
            try space.memory.bytes(at: address, count: UInt64(count))
        }

        func message(_ configuration: X86BootConfiguration) -> String {
            do {
                return "accepted: \(try X86Boot.load(configuration, into: space.memory))"
            } catch {
                return error.description
            }
        }
    }

    @Test func bzImageAndInitrd_landInGuestMemory() throws {
        let fixture = try Fixture()
        let kernel = SyntheticBzImage().bytes
        let initrd = (0..<5000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        _ = try X86Boot.load(
            fixture.configuration(try fixture.file("kernel", kernel), initrd: try fixture.file("initrd", initrd)),
            into: fixture.space.memory)
        #expect(try fixture.bytes(at: 0x100_0000, count: 4096) == Array(kernel[1024...]))
        #expect(try fixture.bytes(at: 0x3ff_e000, count: 5000) == initrd)
        #expect(try fixture.bytes(at: 0x2_0000, count: 14) == Array("console=ttyS0".utf8) + [0])
        #expect(try fixture.bytes(at: 0x500, count: 40) == DescriptorTables.long.bytes)
        #expect(try fixture.bytes(at: 0x9000, count: 0x3000) == IdentityPageTables.bytes)
        #expect(try fixture.bytes(at: 0x7202, count: 4) == Array("HdrS".utf8))
        #expect(try fixture.bytes(at: 0x9fc00, count: 4) == Array("_MP_".utf8))
    }

    @Test func elfBSS_isClearedOnlyWhenMemoryIsUsed() throws {
        let fixture = try Fixture()
        let path = try fixture.file("vmlinux", SyntheticELF().bytes)
        for fresh in [true, false] {
            try fixture.space.memory.fill(at: 0x120_0000, count: 0x5000, byte: 0xcc)
            _ = try X86Boot.load(fixture.configuration(path, fresh: fresh), into: fixture.space.memory)
            #expect(try fixture.bytes(at: 0x120_03ff, count: 2) == [0, fresh ? 0xcc : 0])
            #expect(try fixture.bytes(at: 0x120_3fff, count: 2) == [fresh ? 0xcc : 0, 0xcc])
        }
    }

    @Test func flatBinary_landsAt16MiB() throws {
        let fixture = try Fixture()
        let code: [UInt8] = [0xf4, 0xeb, 0xfd, 0x90, 0x90]
        _ = try X86Boot.load(fixture.configuration(try fixture.file("flat", code)), into: fixture.space.memory)
        #expect(try fixture.bytes(at: 0x100_0000, count: 6) == code + [0])
    }

    @Test func missingOrOddFiles_areNamedWithTheirPath() throws {
        let fixture = try Fixture()
        let kernel = try fixture.file("kernel", SyntheticBzImage().bytes)
        #expect(fixture.message(fixture.configuration("/nonexistent")) == "kernel '/nonexistent': No such file or directory")
        #expect(
            fixture.message(fixture.configuration(kernel, initrd: "/nonexistent"))
                == "initrd '/nonexistent': No such file or directory")
        #expect(fixture.message(fixture.configuration("/dev/null")) == "kernel '/dev/null': not a regular file")
        let directory = fixture.directory.path
        #expect(fixture.message(fixture.configuration(directory)) == "kernel '\(directory)': not a regular file")
        let empty = try fixture.file("empty", [])
        #expect(fixture.message(fixture.configuration(empty)) == "kernel '\(empty)': the file is empty")
        #expect(fixture.message(fixture.configuration(kernel, initrd: empty)) == "initrd '\(empty)': the file is empty")
        #expect(fixture.message(fixture.configuration(kernel + "\0x")) == "kernel '\(kernel)\0x': Invalid argument")
    }

    @Test func fifoAsKernel_neitherBlocksNorBoots() throws {
        let fixture = try Fixture()
        let path = fixture.directory.appendingPathComponent("fifo").path
        try #require(mkfifo(path, 0o600) == 0)
        #expect(fixture.message(fixture.configuration(path)) == "kernel '\(path)': not a regular file")
    }

    @Test func planErrors_nameTheFileAtFault() throws {
        let fixture = try Fixture(ram: 16 << 20)
        let kernel = try fixture.file("kernel", SyntheticBzImage().bytes)
        #expect(
            fixture.message(fixture.configuration(kernel))
                == "kernel '\(kernel)': needs memory 0x1000000..0x1100000, but RAM ends at 0x1000000")
        let roomy = try Fixture(ram: 18 << 20)
        let initrd = try roomy.file("initrd", [UInt8](repeating: 1, count: 2 << 20))
        #expect(
            roomy.message(roomy.configuration(kernel, initrd: initrd))
                == "initrd '\(initrd)': its place 0x1000000..0x1200000 overlaps the kernel at 0x1000000..0x1100000: "
                + "give the machine more memory")
        #expect(
            roomy.message(roomy.configuration(kernel, commandLine: String(repeating: "x", count: 3000)))
                == "kernel command line has 3000 bytes, this kernel accepts 2047")
    }

    @Test func refusedKernel_leavesMemoryUntouched() throws {
        let fixture = try Fixture()
        let kernel = try fixture.file("kernel", SyntheticBzImage().bytes)
        _ = fixture.message(fixture.configuration(kernel, initrd: "/nonexistent"))
        _ = fixture.message(fixture.configuration(kernel, commandLine: "a\0b"))
        #expect(try fixture.bytes(at: 0, count: 0x1_0000).allSatisfy { $0 == 0 })
        #expect(try fixture.bytes(at: 0x100_0000, count: 4096).allSatisfy { $0 == 0 })
    }

    @Test func memoryThatContradictsTheLayout_isAnError() throws {
        let fixture = try Fixture()
        let kernel = try fixture.file("kernel", SyntheticBzImage().bytes)
        let initrd = try fixture.file("initrd", [1, 2, 3, 4])
        var configuration = fixture.configuration(kernel, initrd: initrd)
        configuration.layout = try X86MemoryLayout(ramSize: 512 << 20)
        #expect(
            fixture.message(configuration)
                == "cannot write boot data to 0x1ffff000: guest address 0x1ffff000 is not RAM")
    }
}
