import Foundation
import Testing

/// Whole-program tests with guests of a few instructions, on this machine's /dev/kvm.
@Suite struct PayloadTests {
    private let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }

    private func arguments(_ payload: Payload, _ more: [String] = []) throws -> [String] {
        let kernel = try folder.write("payload.bin", payload.bytes)
        let disk = try folder.image("disk.img", size: 1 << 20)
        return ["-machine", "type=microvm", "-kernel", kernel, "-smp", "1", "-m", "128", "-append", "console=ttyS0",
                "-drive", "file=\(disk),id=rootfs,readonly=off,direct=off", "-device", "virtio-blk-device,drive=rootfs",
                "-qmp", "unix:\(folder.path("q.sock")),server,nowait", "-serial", "stdio"] + more
    }

    @Test func serialOutput_reachesStandardOutput_andKeyboardResetEndsWithCode0() throws {
        let result = try Program.run(try arguments(Payload().print("hello").reset()), in: folder)
        #expect(result.output == "hello")
        #expect(result.error == "")
        #expect(result.code == 0)
        #expect(!folder.names.contains("q.sock"))
    }

    @Test func serialInput_reachesTheGuest() throws {
        let program = try Program(try arguments(Payload().print("?").echoSerialPlusOne()), in: folder)
        try program.waitForOutput("?")
        program.type("ABC")
        try program.waitForOutput("?BCD")
        program.signal(SIGTERM)
        #expect(try program.wait().code == 0)
    }

    @Test func tripleFault_endsTheMachineWithCode0() throws {
        let result = try Program.run(try arguments(Payload().print("x").tripleFault()), in: folder)
        #expect(result.output == "x")
        #expect(result.code == 0)
    }

    @Test(arguments: [SIGTERM, SIGINT, SIGHUP])
    func terminationSignal_endsWithCode0_andRemovesTheSocket(_ signal: Int32) throws {
        let program = try Program(try arguments(Payload().print("up").spin()), in: folder)
        try program.waitForOutput("up")
        #expect(folder.names.contains("q.sock"))
        program.signal(signal)
        let result = try program.wait()
        #expect(result.code == 0)
        #expect(result.error == "")
        #expect(!folder.names.contains("q.sock"))
    }

    @Test func virtioBlockDevice_showsItsMagicAndIdWhereTheMemoryMapSays() throws {
        let payload = Payload().mapDevices().printWord(at: 0xf010_0000).printWord(at: 0xf010_0008).reset()
        let result = try Program.run(try arguments(payload), in: folder)
        #expect(result.output == "virt\u{2}\u{0}\u{0}\u{0}")
    }

    @Test func unclaimedPortsAndAddresses_readAsAllOnes() throws {
        let payload = Payload().mapDevices().print("<").echoPort(0x1234).printWord(at: 0xe000_0000).print(">").reset()
        let program = try Program(try arguments(payload), in: folder)
        #expect(try program.wait().code == 0)
        #expect(program.outputBytes == [0x3c, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3e])
    }

    @Test func severalVCPUs_onlyTheFirstRunsUntilItStartsTheOthers() throws {
        let base = try arguments(Payload().print("one").reset())
        let result = try Program.run(base.map { $0 == "1" ? "8" : $0 }, in: folder)
        #expect(result.output == "one")
        #expect(result.code == 0)
    }

    @Test func frozenMachine_startsOnlyWithCont() throws {
        let program = try Program(try arguments(Payload().print("go").reset(), ["-S"]), in: folder)
        let client = try QMPClient.greeted(path: folder.path("q.sock"))
        #expect((try client.execute("query-status")["return"] as? QMPClient.Message)?["status"] as? String == "paused")
        #expect(program.output == "")
        #expect(try client.execute("cont")["return"] != nil)
        #expect(try program.wait().output == "go")
    }

    @Test func fiveGiBOfMemory_continuesAbove4GiB() throws {
        // The e820 entry count and the size of the last entry (RAM from 4 GiB: 2 GiB) stand in the zero page at 0x7000.
        let payload = Payload().printWord(at: 0x7000 + 0x2d0 + 5 * 20).printWord(at: 0x7000 + 0x2d0 + 5 * 20 + 4).printWord(at: 0x7000 + 0x2d0 + 5 * 20 + 8).reset()
        let base = try arguments(payload)
        let program = try Program(base.map { $0 == "128" ? "5120" : $0 }, in: folder)
        #expect(try program.wait().code == 0)
        #expect(program.outputBytes == [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x80])
    }
}
