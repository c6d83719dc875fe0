import Testing

@testable import MachineManager

/// The shortest command line that is accepted, and `words` behind it.
private func parse(_ words: String...) throws -> VmConfig { try MachineManagerTests.parse(["-initrd", "i"] + words) }

/// Unlike elsewhere, `words` are the whole command line.
private func wholeMessage(_ words: [String]) -> String {
    do {
        _ = try CommandLineParser.parse(words)
        return "accepted"
    } catch {
        return error.description
    }
}

@Suite struct CommandLineTests {
    @Test func commandLineOfTheProject_isUnderstood() throws {
        let words = [
            "-machine", "type=microvm", "-kernel", "vmlinux.bin", "-smp", "1", "-m", "1024",
            "-append", "console=ttyS0 pci=off reboot=k quiet panic=1 root=/dev/vda",
            "-drive", "file=rootfs.img,id=rootfs,readonly=off,direct=off", "-device", "virtio-blk-device,drive=rootfs",
            "-qmp", "unix:stratovirt.sock,server,nowait", "-serial", "stdio",
        ]
        var expected = VmConfig(kernel: "vmlinux.bin")
        expected.memory.size = 1 << 30
        expected.boot.kernelArguments = "console=ttyS0 pci=off reboot=k quiet panic=1 root=/dev/vda"
        var drive = VmConfig.Drive(id: "rootfs", file: "rootfs.img")
        drive.isDirect = false
        expected.drives = [drive]
        expected.devices = [.virtioBlock(VmConfig.VirtioBlock(drive: "rootfs"))]
        expected.monitors = [.unix(path: "stratovirt.sock")]
        expected.serial = VmConfig.Chardev(id: "serial_chardev", backend: .stdio)
        #expect(try CommandLineParser.parse(words) == .run(expected))
    }

    @Test func help_winsOverWhatFollows() throws {
        for word in ["-h", "-help"] { #expect(try CommandLineParser.parse(["-m", "1G", word, "-bad"]) == .help) }
        for word in ["-V", "-version"] { #expect(try CommandLineParser.parse([word]) == .version) }
        #expect(wholeMessage(["-bad", "-help"]) == "unknown option '-bad'")
    }

    @Test func help_namesEveryOptionAndParameterOfTheTable() {
        let words = Set(CommandLineParser.helpText.split { " \n[],".contains($0) }.map { $0.prefix { $0 != "=" } })
        for spec in OptionTable.all {
            #expect(words.contains("-\(spec.name)"))
            var parameters = spec.parameters
            if case .variants(_, let variants) = spec.head {
                for variant in variants { #expect(words.contains(variant.name[...])) }
                parameters += variants.flatMap(\.parameters)
            }
            for parameter in parameters { #expect(words.contains(parameter.key[...]), "\(parameter.key)") }
        }
    }

    @Test func table_namesNothingTwice() {
        let names = OptionTable.all.map(\.name)
        #expect(Set(names).count == names.count)
        for spec in OptionTable.all { #expect(Set(spec.parameters.map(\.key)).count == spec.parameters.count) }
    }

    @Test func unsupportedOptions_areRefusedByName() {
        let names = OptionTable.all.filter { $0.id == .unsupported }.map(\.name)
        #expect(!names.isEmpty)
        for name in names { #expect(wholeMessage(["-\(name)", "x"]) == "-\(name): not supported yet") }
    }

    @Test func ignoredOptions_changeNothing() throws {
        let plain = try parse()
        for spec in OptionTable.all where spec.id == .ignored {
            let value = spec.arity == .flag ? [] : ["a=b,c"]
            #expect(wholeMessage(["-kernel", "k", "-initrd", "i", "-\(spec.name)"] + value) == "accepted")
            let again = ["-kernel", "k", "-initrd", "i", "-\(spec.name)"] + value + ["-\(spec.name)"] + value
            #expect(try CommandLineParser.parse(again) == .run(plain))
        }
    }

    @Test func unsupportedDevices_areRefusedByName() {
        var names: [String] = []
        for spec in OptionTable.all where spec.id == .device {
            guard case .variants(_, let variants) = spec.head else { continue }
            names = variants.filter { !$0.isSupported }.map(\.name)
        }
        #expect(names.count == 33)
        for name in names { #expect(wholeMessage(["-device", "\(name),id=x"]) == "-device \(name): not supported yet") }
    }

    @Test func append_joinsItsWordsAndOccurrences() throws {
        #expect(try parse("-append", "a b", "c", "-S", "-append", "d=e,f").boot.kernelArguments == "a b c d=e,f")
        #expect(try parse("-append", "").boot.kernelArguments == "")
    }

    @Test(arguments: [
        (["-bad"], "unknown option '-bad'"),
        (["-"], "unknown option '-'"),
        (["--kernel=x"], "unexpected argument '--kernel=x'"),
        (["--help"], "unexpected argument '--help'"),
        (["--"], "unexpected argument '--'"),
        (["stray"], "unexpected argument 'stray'"),
        ([""], "unexpected argument ''"),
        (["-ker\u{1b}[31m\n"], "unknown option '-ker?[31m?'"),
        (["-" + String(repeating: "x", count: 200)], "unknown option '-" + String(repeating: "x", count: 79) + "...'"),
        (["-kernel"], "-kernel: needs a value"),
        (["-kernel", ""], "-kernel: needs a value"),
        (["-kernel", "-m"], "-kernel: needs a value"),
        (["-kernel", "a", "b"], "-kernel: unexpected value 'b'"),
        (["-kernel", "a", "-kernel", "b"], "-kernel: given more than once"),
        (["-kernel", String(repeating: "k", count: 4096)], "-kernel: longer than 4095 bytes"),
        (["-initrd", String(repeating: "k", count: 4096)], "-initrd: longer than 4095 bytes"),
        (["-name", String(repeating: "n", count: 256)], "-name: longer than 255 bytes"),
        (["-append"], "-append: needs a value"),
        (["-append", "-x"], "-append: needs a value"),
        (["-S", "x"], "-S: unexpected value 'x'"),
        (["-S", "-S"], "-S: given more than once"),
        (["-D", "a", "b"], "-D: unexpected value 'b'"),
        (["-D", ""], "-D: needs a value"),
        (["-nodefaults", "x"], "-nodefaults: unexpected value 'x'"),
        (["-uuid"], "-uuid: needs a value"),
        ([], "-kernel is missing"),
        (["-kernel", "k"], "the guest has no root file system: give -initrd, -drive or -chardev"),
    ])
    func wrongWords_haveTheirMessage(_ words: [String], _ expected: String) {
        #expect(wholeMessage(words) == expected)
    }

    @Test(arguments: [
        ("type=q35", "-machine type=q35: not supported yet"),
        ("virt", "-machine type=virt: not supported yet"),
        ("pc", "-machine: type= must be microvm or none, not 'pc'"),
        ("", "-machine: type= needs a value"),
        ("microvm,accel=test", "-machine accel=test: not supported yet"),
        ("microvm,accel=kvm:tcg", "-machine accel=kvm:tcg: not supported yet"),
        ("microvm,accel=tcg", "-machine: accel= must be kvm, not 'tcg'"),
        ("microvm,usb=on", "-machine usb=on: not supported yet"),
        ("microvm,gic-version=2", "-machine gic-version=2: not supported yet"),
        ("microvm,gic-version=4", "-machine: gic-version= must be host, max or 3, not '4'"),
        ("microvm,dumpdtb=", "-machine: dumpdtb= needs a value"),
        ("microvm,mem-share=maybe", "-machine: mem-share= must be on or off, not 'maybe'"),
        ("microvm,mem-share", "-machine: mem-share= needs a value"),
        ("microvm,mem-share=", "-machine: mem-share= needs a value"),
        ("microvm,foo=1", "-machine: unknown parameter 'foo'"),
        ("microvm,", "-machine: empty parameter between commas"),
        ("microvm,type=microvm", "-machine: type= is given more than once"),
    ])
    func machine_wrongValues(_ value: String, _ expected: String) {
        #expect(wholeMessage(["-machine", value]) == expected)
    }

    @Test func machine_rightValues() throws {
        for value in ["microvm", "type=microvm", "MicroVM,accel=KVM,usb=off", "dump-guest-core=yes,mem-share=false"] {
            #expect(try parse("-machine", value) == (try parse()))
        }
        // The last of several booleans wins.
        #expect(try parse("-machine", "mem-share=off,mem-share=true").machine.memShare)
        #expect(try parse("-accel", "kvm", "-cpu", "host,pmu=off,sve=off,kvm-steal-time=no") == (try parse()))
        #expect(try parse("-cpu", "host") == (try parse()))
        for value in ["gic-version=host", "gic-version=max"] { #expect(try parse("-machine", value) == (try parse())) }
        #expect(try parse("-machine", "gic-version=3,dumpdtb=/f").machine.gicVersion == .v3)
        #expect(try parse("-machine", "dumpdtb=/f").machine.deviceTreeDump == "/f")
    }

    @Test func cpuFeatures_areForAArch64_andSaidToBeWithoutEffectElsewhere() throws {
        let all = try parse("-cpu", "host,pmu=on,sve=on,kvm-steal-time=on")
        #expect(all.cpu.hasPMU && all.cpu.hasSVE && all.cpu.hasStealTime)
        #expect(all.unusedParts(on: .aarch64).isEmpty)
        #expect(all.unusedParts(on: .x86_64) == ["pmu", "sve", "kvm-steal-time"].map { "-cpu: \($0)=on has no effect on x86_64" })
        let one = try parse("-cpu", "pmu=on,sve=off")
        #expect(one.cpu.hasPMU && !one.cpu.hasSVE && !one.cpu.hasStealTime)
        #expect(try parse("-cpu", "host,pmu=on,pmu=off") == (try parse()))
    }

    @Test func cpuAndAccelerator_wrongValues() {
        #expect(wholeMessage(["-cpu", "qemu64"]) == "-cpu: model= must be host, not 'qemu64'")
        #expect(wholeMessage(["-cpu", "pmu"]) == "-cpu: model= must be host, not 'pmu'")
        #expect(wholeMessage(["-cpu", "host,pmu=1"]) == "-cpu: pmu= must be on or off, not '1'")
        #expect(wholeMessage(["-cpu", "host,vmx=on"]) == "-cpu: unknown parameter 'vmx'")
        #expect(wholeMessage(["-accel", "test"]) == "-accel accel=test: not supported yet")
        #expect(wholeMessage(["-accel", "hvf"]) == "-accel: accel= must be kvm, not 'hvf'")
    }

    @Test func machineNone_needsNothing() throws {
        let words = [
            "-S", "-no-user-config", "-nodefaults", "-nographic", "-machine", "none,accel=kvm", "-qmp", "unix:q,server,nowait", "-pidfile",
            "p", "-daemonize",
        ]
        guard case .run(let config) = try CommandLineParser.parse(words) else { return #expect(Bool(false)) }
        #expect(config.machine.kind == .none && config.boot.kernel.isEmpty && config.monitors == [.unix(path: "q")])
        #expect(config.process.daemonizes && config.process.pidFile == "p" && config.startsPaused)
    }

    @Test func processOptions_areTaken() throws {
        let config = try parse("-D", "log", "-freeze", "-disable-seccomp", "-name", "n", "-daemonize", "-pidfile", "p")
        #expect(config.process.log == .file(path: "log") && config.startsPaused && config.isSeccompDisabled && config.name == "n")
        #expect(config.process.daemonizes && config.process.pidFile == "p")
        #expect(try parse("-D").process.log == .standardError)
    }

    @Test func daemonize_goesWithPidfile_andNotWithStdio() {
        let start = ["-kernel", "k", "-initrd", "i"]
        #expect(wholeMessage(start + ["-pidfile", "p"]) == "-pidfile: needs -daemonize")
        let stdio = "-daemonize leaves no standard input and output for stdio"
        #expect(wholeMessage(start + ["-daemonize", "-serial", "stdio"]) == stdio)
        #expect(wholeMessage(start + ["-chardev", "stdio,id=c", "-daemonize"]) == stdio)
        #expect(wholeMessage(start + ["-daemonize", "-serial", "chardev:c", "-chardev", "stdio,id=c"]) == stdio)
        #expect(wholeMessage(start + ["-daemonize", "-pidfile", String(repeating: "p", count: 4096)]) == "-pidfile: longer than 4095 bytes")
        #expect(wholeMessage(start + ["-daemonize", "-serial", "pty"]) == "accepted")
    }

    @Test func uuid_isKeptWhenItIsOne() throws {
        let uuid = "0F5A3c2e-1b2d-4e6f-8091-a2b3c4d5e6f7"
        #expect(try parse("-uuid", uuid).uuid == uuid)
        for other in ["0", "0f5a3c2e-1b2d-4e6f-8091-a2b3c4d5e6f", "0f5a3c2e+1b2d-4e6f-8091-a2b3c4d5e6f7", "0f5a3c2e-1b2d-4e6f-8091-a2b3c4d5e6fg"] {
            #expect(try parse("-uuid", other).uuid == nil)
        }
        #expect(wholeMessage(["-uuid", String(repeating: "u", count: 256)]) == "-uuid: longer than 255 bytes")
    }

    @Test func global_knowsOnePropertyAndIgnoresIt() throws {
        #expect(try parse("-global", "pcie-root-port.fast-unplug=1", "-global", "pcie-root-port.fast-unplug=0") == (try parse()))
        #expect(
            wholeMessage(["-global", "pcie-root-port.fast-unplug=2"]) == "-global: pcie-root-port.fast-unplug= must be a number from 0 to 1, not '2'")
        #expect(wholeMessage(["-global", "ICH9-LPC.disable_s3=1"]) == "-global: unknown parameter 'ICH9-LPC.disable_s3'")
    }
}
