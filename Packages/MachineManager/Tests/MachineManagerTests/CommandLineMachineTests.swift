import Testing

@testable import MachineManager

private func outcome(_ option: String, _ value: String) -> Result<VmConfig, CommandLineError> {
    do throws(CommandLineError) {
        guard case .run(let config) = try CommandLineParser.parse(["-kernel", "k", "-initrd", "i", option, value]) else {
            return .failure(.conflict("not a configuration"))
        }
        return .success(config)
    } catch {
        return .failure(error)
    }
}

private func message(_ option: String, _ value: String) -> String {
    if case .failure(let error) = outcome(option, value) { error.description } else { "accepted" }
}

@Suite struct CommandLineMachineTests {
    /// count, maximum, sockets, dies, clusters, cores, threads
    @Test(arguments: [
        ("1", [1, 1, 1, 1, 1, 1, 1]),
        ("8", [8, 8, 1, 1, 1, 8, 1]),
        ("254", [254, 254, 1, 1, 1, 254, 1]),
        ("cpus=2,maxcpus=8", [2, 8, 1, 1, 1, 8, 1]),
        ("2,maxcpus=auto", [2, 2, 1, 1, 1, 2, 1]),
        ("2,maxcpus=0", [2, 2, 1, 1, 1, 2, 1]),
        ("8,sockets=2", [8, 8, 2, 1, 1, 4, 1]),
        ("8,cores=4", [8, 8, 2, 1, 1, 4, 1]),
        ("8,threads=2", [8, 8, 1, 1, 1, 4, 2]),
        ("8,sockets=2,cores=2", [8, 8, 2, 1, 1, 2, 2]),
        ("1,sockets=2,dies=2,cores=2,threads=2", [1, 16, 2, 2, 1, 2, 2]),
        ("8,dies=2,clusters=2", [8, 8, 1, 2, 2, 2, 1]),
    ])
    func smp_missingNumbersAreDerived(_ value: String, _ expected: [UInt32]) throws {
        let got = try outcome("-smp", value).get().processors
        #expect([got.count, got.maximum, got.sockets, got.dies, got.clusters, got.cores, got.threads] == expected)
    }

    @Test(arguments: [
        ("0", "-smp: cpus= must be a number from 1 to 254, not '0'"),
        ("255", "-smp: cpus= must be a number from 1 to 254, not '255'"),
        ("-1", "-smp: needs a value"),
        ("+1", "-smp: cpus= must be a number from 1 to 254, not '+1'"),
        ("0x2", "-smp: cpus= must be a number from 1 to 254, not '0x2'"),
        ("1 ", "-smp: cpus= must be a number from 1 to 254, not '1 '"),
        ("٣", "-smp: cpus= must be a number from 1 to 254, not '٣'"),
        ("18446744073709551617", "-smp: cpus= must be a number from 1 to 254, not '18446744073709551617'"),
        ("", "-smp: cpus= needs a value"),
        ("sockets=2", "-smp: cpus= is missing"),
        ("4,cpus=4", "-smp: cpus= is given more than once"),
        ("4,maxcpus=3", "-smp: maxcpus (3) must be at least cpus (4)"),
        ("4,maxcpus=255", "-smp: maxcpus= must be a number from 0 to 254, not '255'"),
        ("4,dies=0", "-smp: dies= must be a number from 1 to 254, not '0'"),
        ("7,sockets=2", "-smp: sockets (2) * dies (1) * clusters (1) * cores (3) * threads (1) must equal maxcpus (7)"),
        ("1,sockets=2", "-smp: sockets (2) * dies (1) * clusters (1) * cores (0) * threads (1) must equal maxcpus (1)"),
        ("4,maxcpus=8,sockets=1,cores=2,threads=2",
         "-smp: sockets (1) * dies (1) * clusters (1) * cores (2) * threads (2) must equal maxcpus (8)"),
        ("1,sockets=254,dies=254,clusters=254,cores=254,threads=254", "-smp: maxcpus (1057227821024) must be at most 254"),
        ("1,cpu=2", "-smp: unknown parameter 'cpu'"),
    ])
    func smp_wrongValues(_ value: String, _ expected: String) {
        #expect(message("-smp", value) == expected)
    }

    /// Every combination of small numbers either satisfies the rule or is refused; none traps.
    @Test func smp_smallNumbers_allKeepTheProductRule() {
        for code in 0..<(4 * 5 * 3 * 3 * 3 * 3) {
            var rest = code
            func digit(_ base: Int) -> Int {
                defer { rest /= base }
                return rest % base
            }
            let value = "\(digit(4) + 1),maxcpus=\(digit(5)),sockets=\(digit(3)),dies=\(digit(3) + 1),cores=\(digit(3)),threads=\(digit(3))"
            guard case .success(let config) = outcome("-smp", value) else { continue }
            let got = config.processors
            #expect(got.sockets * got.dies * got.clusters * got.cores * got.threads == got.maximum)
            #expect(got.count <= got.maximum)
        }
    }

    @Test(arguments: [
        ("128", 128 << 20, nil), ("size=1024", 1 << 30, nil), ("131072K", 128 << 20, nil), ("131072k", 128 << 20, nil),
        ("512G", 512 << 30, nil), ("512g,maxmem=512G", 512 << 30, 512 << 30), ("1000m,maxmem=2G", 1000 << 20, 2 << 30),
    ] as [(String, UInt64, UInt64?)])
    func memory_rightSizes(_ value: String, _ size: UInt64, _ maximum: UInt64?) throws {
        let memory = try outcome("-m", value).get().memory
        #expect(memory.size == size && memory.maximum == maximum)
    }

    @Test func memory_default_is256MiB() throws {
        #expect(try outcome("-name", "x").get().memory.size == 256 << 20)
    }

    @Test(arguments: [
        ("127", "-m: size= must be from 128M to 512G, not '127'"),
        ("513G", "-m: size= must be from 128M to 512G, not '513G'"),
        ("17179869184G", "-m: size= must be from 128M to 512G, not '17179869184G'"),
        ("18446744073709551615", "-m: size= must be from 128M to 512G, not '18446744073709551615'"),
        ("18446744073709551616", "-m: size= must be a size such as 512M or 2G, not '18446744073709551616'"),
        ("1T", "-m: size= must be a size such as 512M or 2G, not '1T'"),
        ("M", "-m: size= must be a size such as 512M or 2G, not 'M'"),
        ("1.5G", "-m: size= must be a size such as 512M or 2G, not '1.5G'"),
        ("0x80", "-m: size= must be a size such as 512M or 2G, not '0x80'"),
        ("1GB", "-m: size= must be a size such as 512M or 2G, not '1GB'"),
        ("131073K", "-m: sizes must be multiples of 4K"),
        ("1G,maxmem=512M", "-m: maxmem= (512M) must be at least size= (1G)"),
        ("maxmem=1G", "-m: size= is missing"),
        ("1G,slots=2", "-m: unknown parameter 'slots'"),
    ])
    func memory_wrongSizes(_ value: String, _ expected: String) {
        #expect(message("-m", value) == expected)
    }
}
