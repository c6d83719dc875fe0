import Foundation
import Testing

/// Memory that comes and goes, and persistent memory, by option and by QMP.
@Suite struct MemoryDeviceTests {
    private let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }

    private static func deviceConfig(_ place: UInt32, _ offset: UInt32) -> UInt32 { 0xf010_0100 + 0x200 * place + offset }
    private static func deviceID(_ place: UInt32) -> UInt32 { 0xf010_0008 + 0x200 * place }

    private static let devices = [
        "-object", "memory-backend-ram,id=more,size=1G", "memory-backend-file,id=file,size=4M,mem-path=pmem.img",
        "-device", "virtio-mem-device,id=mem0,memdev=more,requested-size=64M", "virtio-pmem-device,id=pmem0,memdev=file",
    ]

    private func arguments(_ payload: Payload, _ more: [String]) throws -> [String] {
        let kernel = try folder.write("payload.bin", payload.bytes)
        return ["-m", "128", "-kernel", kernel, "-initrd", kernel, "-qmp", "unix:q.sock,server,nowait", "-serial", "stdio"] + more
    }

    private func refuses(_ more: [String], _ sentence: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
        let result = try Program.run(try arguments(Payload().reset(), more), in: folder)
        #expect(result.code == 1 && result.error == "stratovirt: \(sentence)\n", "\(result)", sourceLocation: sourceLocation)
    }

    @Test func guestFindsBoth_behindItsMemory() throws {
        _ = try folder.image("pmem.img", size: 4 << 20)
        // Block size, address, size and requested size of the one; address and size of the other.
        let memory = [0, 16, 20, 24, 48].map { Self.deviceConfig(6, $0) }
        let file = [0, 4, 8].map { Self.deviceConfig(7, $0) }
        let addresses = [Self.deviceID(6), Self.deviceID(7)] + memory + file
        let payload = addresses.reduce(Payload().mapDevices()) { $0.printWord(at: $1) }.reset()
        let program = try Program(try arguments(payload, Self.devices), in: folder)
        #expect(try program.wait().code == 0)
        let bytes = program.outputBytes
        let words: [UInt32] = stride(from: 0, to: bytes.count - 3, by: 4).map { start in (0..<4).reduce(0) { $0 | UInt32(bytes[start + $1]) << (8 * $1) } }
        let expected: [UInt32] = [24, 27, 0x40_0000, 0, 1, 0x4000_0000, 0x400_0000, 0x4000_0000, 1, 0x40_0000]
        #expect(words == expected)
    }

    @Test func sizesAreSetAndRead_andWrongOnesRefused() throws {
        _ = try folder.image("pmem.img", size: 4 << 20)
        let program = try Program(try arguments(Payload().print("up").spin(), Self.devices), in: folder)
        try program.waitForOutput("up")
        let client = try QMPClient.greeted(path: folder.path("q.sock"))
        try client.must("qmp_capabilities")
        func requested() throws -> Int? { (try client.must("get-viomem", #"{"id":"mem0"}"#) as? QMPClient.Message)?["requested-size"] as? Int }
        #expect(try requested() == 64 << 20)
        try client.must("set-viomem", #"{"id":"mem0","requested-size":"512M"}"#)
        #expect(try requested() == 512 << 20)
        try client.must("qom-set", #"{"path":"/machine/peripheral/mem0","property":"requested-size","value":8388608}"#)
        #expect(try requested() == 8 << 20)
        #expect(
            try client.refused("set-viomem", #"{"id":"mem0","requested-size":"2M"}"#)
                == "memory device 'mem0': the requested size 2097152 is not a multiple of the block size, 4M")
        #expect(
            try client.refused("set-viomem", #"{"id":"mem0","requested-size":"2G"}"#)
                == "memory device 'mem0': the requested size 2147483648 is more than the 1073741824 bytes that there are")
        #expect(try client.refused("set-viomem", #"{"id":"pmem0","requested-size":0}"#) == "there is nothing with the id 'pmem0'")
        let list = try #require(try client.must("query-memory-devices") as? [QMPClient.Message])
        #expect(list.map { $0["type"] as? String } == ["virtio-mem", "virtio-pmem"])
        let addresses = list.map { ($0["data"] as? QMPClient.Message)?["memaddr"] as? Int }
        #expect(addresses == [0x1_0000_0000, 0x1_4000_0000])
        program.signal(SIGTERM)
        #expect(try program.wait().code == 0)
    }

    @Test func devicesThatCannotBe_areNamed() throws {
        try refuses(["-object", "memory-backend-ram,id=m,size=1G", "-device", "virtio-mem-device,memdev=m,memaddr=0x80000000"],
                    "-device: memory device 'm': memaddr=0x80000000 is below 0x100000000, where memory devices begin in this machine")
        try refuses(["-object", "memory-backend-ram,id=m,size=1G", "-device", "virtio-mem-device,memdev=m,requested-size=2G"],
                    "-device: memory device 'm': the requested size 2147483648 is more than the 1073741824 bytes that there are")
        try refuses(["-object", "memory-backend-file,id=m,size=4M,mem-path=none,readonly=on", "-device", "virtio-pmem-device,memdev=m"],
                    "-object memory-backend-file,id=m: cannot open 'none': No such file or directory")
        // A file that was made for a start that fails goes again.
        try refuses(["-object", "memory-backend-file,id=m,size=4M,mem-path=new", "-device", "virtio-pmem-device,memdev=m,memaddr=0x100001000"],
                    "-device: memory device 'm': memaddr=0x100001000 is not a multiple of 0x200000")
        #expect(folder.names == ["payload.bin"])
    }
}
