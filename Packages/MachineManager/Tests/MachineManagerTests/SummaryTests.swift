import MachineManager
import Testing

@Suite struct SummaryTests {
    private func config(_ words: String) throws -> VmConfig {
        guard case .run(let config) = try CommandLineParser.parse(words.split(separator: " ").map(String.init)) else { throw Wrong() }
        return config
    }

    private struct Wrong: Error {}

    @Test func summary_isOneLineWithWhatMatters() throws {
        let config = try config("-name vm -smp 2,maxcpus=4 -m 512 -kernel /k -initrd /i -append a b -drive id=d,file=/disk,readonly=on,direct=off "
            + "-device virtio-blk-device,drive=d,id=blk -qmp unix:/q,server,nowait -S")
        #expect(config.summary == "{machine: microvm, name: vm, smp: 2/4, memory: 512 MiB, kernel: /k, initrd: /i, append: \"a b\", qmp: [unix:/q], "
            + "drives: [d /disk read-only], devices: [blk], paused}")
        #expect(try self.config("-machine none -qmp tcp:127.0.0.1:4444,server,nowait").summary == "{machine: none, qmp: [tcp:127.0.0.1:4444]}")
    }
}
