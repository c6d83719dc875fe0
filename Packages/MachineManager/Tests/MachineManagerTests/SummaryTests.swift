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

    @Test func whatNoDeviceUses_isNamed() throws {
        let config = try config("-kernel /k -initrd /i -qmp unix:/q,server,nowait -drive id=d1,file=/1,direct=off -drive id=d2,file=/2,direct=off "
            + "-device virtio-blk-device,drive=d2,id=b,iothread=io2 -netdev tap,id=n1,ifname=t1 -netdev tap,id=n2,ifname=t2 -device virtio-net-device,netdev=n1,id=n "
            + "-chardev pty,id=c1 -chardev pty,id=c2 -device virtio-serial-device,id=s -device virtconsole,chardev=c2,id=v,nr=0 "
            + "-object rng-random,id=r1,filename=/r -object rng-random,id=r2,filename=/r -device virtio-rng-device,rng=r2,id=rng "
            + "-object iothread,id=io1 -object iothread,id=io2")
        let sentences = config.unusedParts.joined(separator: "\n")
        for unused in ["c1", "d1", "n2", "r1", "io1"] { #expect(sentences.contains(unused)) }
        for used in ["c2", "d2", "n1", "r2", "io2"] { #expect(!sentences.contains(used)) }
        #expect(config.unusedParts.count == 5)
    }
}
