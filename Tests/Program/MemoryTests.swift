import Foundation
import LinuxSys
import Testing

/// What the release build and `ProgramMemory` promise together.
@Suite struct MemoryTests {
    private struct Mapping {
        let permissions: String
        let bytes: Int
    }

    /// The mappings of the program's own file.
    private func program(_ id: Int32) -> [Mapping] {
        ProcessFacts(id: id).text("maps").split(separator: "\n").compactMap { line in
            let words = line.split(separator: " ")
            guard words.last?.hasSuffix("stratovirt") == true, let range = words.first?.split(separator: "-"), range.count == 2,
                let start = Int(range[0], radix: 16), let end = Int(range[1], radix: 16)
            else { return nil }
            return Mapping(permissions: String(words[1]), bytes: end - start)
        }
    }

    private func start(in folder: TemporaryFolder) throws -> Program {
        let kernel = try folder.write("payload.bin", Payload().print("go").spin().bytes)
        _ = try folder.image("disk.img", size: 1 << 20)
        let machine = try Program(["-m", "128", "-kernel", kernel, "-drive", "file=disk.img,id=d,direct=off",
                                   "-device", "virtio-blk-device,drive=d", "-qmp", "unix:q.sock,server,nowait", "-serial", "stdio"], in: folder)
        try machine.waitForOutput("go")
        return machine
    }

    private func work(_ client: QMPClient) throws {
        for command in ["query-qmp-schema", "query-commands", "query-cpus", "query-block", "query-version"] {
            #expect(try client.execute(command)["return"] != nil, "\(command)")
        }
    }

    @Test func constantsAreReadOnly_andAQuietMachineStaysSmall() throws {
        let folder = try TemporaryFolder()
        let machine = try start(in: folder)
        let facts = ProcessFacts(id: machine.processID)
        // Rare code is cut into small mappings when start-up has settled.
        try until("start-up has settled") { program(machine.processID).count > 100 }
        let mappings = program(machine.processID)
        // Over 1 MiB of constants is not among them, and nothing is code and writable.
        #expect(mappings.filter { $0.permissions.contains("w") }.reduce(0) { $0 + $1.bytes } < 512 << 10)
        #expect(!mappings.contains { $0.permissions.hasPrefix("rwx") })
        try until("\(facts.residentKiB) KiB") { facts.residentKiB <= 2048 }
        #expect(facts.writtenKiB <= 512)
        try work(try QMPClient.greeted(path: folder.path("q.sock")))
        #expect(facts.residentKiB <= 4096)
        try until("what the session touched is given back") { facts.residentKiB <= 2048 }
    }

    @Test func rareCodeIsInSmallMappings_forAClientThatComesEarly() throws {
        let folder = try TemporaryFolder()
        let machine = try start(in: folder)
        // The client's work touches it sooner than the start has settled.
        try work(try QMPClient.greeted(path: folder.path("q.sock")))
        #expect(program(machine.processID).count > 100)
    }
}
