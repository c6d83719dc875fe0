import LinuxSys
import Testing

@testable import MachineManager

/// The command lines that Kata Containers' StratoVirt driver writes, in every variant.
@Suite struct CommandLineKataTests {
    /// What a variant of the driver's configuration adds.
    struct Variant: Sendable, CustomTestStringConvertible {
        var debug = false
        var initrd = false
        var shared = true
        /// The tap of the network: its descriptors, or its name.
        var tap = "fds=3:4"
        var testDescription: String { "debug \(debug), initrd \(initrd), shared \(shared), \(tap)" }

        static var all: [Variant] {
            var found: [Variant] = []
            for debug in [false, true] {
                for initrd in [false, true] {
                    for shared in [false, true] {
                        for tap in ["fds=3", "fds=3:4", "ifname=tap0_kata"] {
                            found.append(Variant(debug: debug, initrd: initrd, shared: shared, tap: tap))
                        }
                    }
                }
            }
            return found
        }

        var words: [String] {
            let folder = "/run/vc/vm/8e3c"
            var words = [
                "-name", "sandbox-8e3c", "-uuid", "6f2d1f0e-63c5-4d0a-8e7b-12ab34cd56ef", "-smp", "1", "-m", "2048", "-kernel", "/usr/share/vmlinux",
                "-append",
                "root=/dev/vda rootfstype=ext4 reboot=k panic=1 net.ifnames=0 random.trust_cpu=on pci=off iommu=off acpi=off "
                    + (debug ? "debug console=hvc0" : "quiet 8250.nr_uarts=0 agent.log_vport=1025"),
                "-qmp", "unix:\(folder)/qmp.socket,server,nowait", "-D", "-disable-seccomp", "-machine",
                "type=microvm,dump-guest-core=off" + (shared ? ",mem-share=on" : ""),
            ]
            if initrd { words += ["-initrd", "/usr/share/initrd"] }
            words += ["-object", "rng-random,id=objrng0,filename=/dev/urandom", "-device", "virtio-rng-device,rng=objrng0,id=virtio-rng0"]
            if debug {
                words += ["-device", "virtio-serial-device,id=virtio-serial0"]
                words += ["-chardev", "socket,id=charconsole0,path=\(folder)/console.socket,server,nowait"]
                words += ["-device", "virtconsole,chardev=charconsole0,id=virtio-console0,nr=0"]
            }
            if !initrd {
                words += ["-drive", "id=rootfs,file=/usr/share/image,readonly=on,direct=off"]
                words += ["-device", "virtio-blk-device,drive=rootfs,id=virtio-blk0"]
            }
            words += ["-device", "vhost-vsock-device,id=vsock-id,guest-cid=987654321,vhostfd=5"]
            words += ["-netdev", "tap,id=tap0_kata,\(tap)", "-device", "virtio-net-device,netdev=tap0_kata,id=tap0_kata,mac=02:42:ac:11:00:02"]
            if shared {
                words += ["-chardev", "socket,id=virtio_fs,path=\(folder)/virtiofs_kata.socket,server,nowait"]
                words += ["-device", "vhost-user-fs-device,chardev=virtio_fs,tag=kataShared,id=virtio-fs0"]
            }
            return words
        }
    }

    @Test(arguments: Variant.all)
    func commandLine_isUnderstood(_ variant: Variant) throws {
        guard case .run(let config) = try CommandLineParser.parse(variant.words) else { return #expect(Bool(false)) }
        #expect(config.name == "sandbox-8e3c" && config.uuid == "6f2d1f0e-63c5-4d0a-8e7b-12ab34cd56ef")
        #expect(config.memory.size == 2 << 30 && config.processors.count == 1)
        #expect(!config.machine.dumpGuestCore && config.machine.memShare == variant.shared)
        #expect(config.process.log == .standardError && config.process.isLogRequested && config.isSeccompDisabled)
        #expect(config.monitors == [.unix(path: "/run/vc/vm/8e3c/qmp.socket")])
        #expect(config.rngSources == [VmConfig.RngSource(id: "objrng0", filename: "/dev/urandom")])
        #expect(config.drives.first?.isReadOnly == (variant.initrd ? nil : true) && config.drives.first?.isDirect == (variant.initrd ? nil : false))
        var names = ["virtio-rng0"]
        if variant.debug { names += ["virtio-serial0", "virtio-console0"] }
        if !variant.initrd { names.append("virtio-blk0") }
        names += ["vsock-id", "tap0_kata"]
        if variant.shared { names.append("virtio-fs0") }
        #expect(config.devices.map(\.id) == names)
        #expect(config.unusedParts(on: .x86_64).isEmpty)
        #expect(config.devices.contains(.vhostVsock(VmConfig.VhostVsock(id: "vsock-id", guestCID: 987_654_321, descriptor: 5))))
        guard case .tap(let tap)? = config.netdevs.first?.backend else { return #expect(Bool(false)) }
        switch variant.tap {
        case "fds=3": #expect(tap.descriptors == [.number(3)])
        case "fds=3:4": #expect(tap.descriptors == [.number(3), .number(4)] && config.netdevs.first?.queues == 2)
        default: #expect(tap.interface == "tap0_kata" && tap.descriptors.isEmpty)
        }
        for case .virtioNet(let device) in config.devices { #expect(device.mac == MACAddress("02:42:ac:11:00:02")) }
        // The driver writes the console's chardev and virtiofsd's the same way; only one of them is a server.
        for chardev in config.chardevs {
            guard case .socket(let socket) = chardev.backend else { return #expect(Bool(false)) }
            #expect(socket.isServer == (chardev.id == "charconsole0"))
        }
    }

    /// `-device` lines come before or after the objects that they name.
    @Test func orderOfDevicesAndObjects_doesNotMatter() throws {
        let words = Variant(debug: true).words
        var pairs: [[String]] = []
        for word in words { if word.hasPrefix("-") { pairs.append([word]) } else { pairs[pairs.count - 1].append(word) } }
        let devices = pairs.filter { $0[0] == "-device" }
        let others = pairs.filter { $0[0] != "-device" }
        let expected = try CommandLineParser.parse(words)
        #expect(try CommandLineParser.parse((devices + others).flatMap(\.self)) == expected)
        #expect(try CommandLineParser.parse((others + devices).flatMap(\.self)) == expected)
    }
}

/// Command lines of StratoVirt's documents, as they are written there; those of the microvm.
@Suite struct CommandLineDocumentTests {
    private func accepts(_ words: String...) {
        #expect(message(words) == "accepted", "\(words)")
    }

    private let root = ["-drive", "file=/path/to/rootfs,id=rootfs,readonly=off,direct=off", "-device", "virtio-blk-device,drive=rootfs,id=rootfs"]

    @Test func quickStart() throws {
        let config = try parse(
            ["-machine", "microvm", "-smp", "1", "-m", "1024m", "-append", "console=ttyS0 pci=off reboot=k quiet panic=1 root=/dev/vda"] + root
                + ["-qmp", "unix:/path/to/socket,server,nowait", "-serial", "stdio"])
        #expect(config.devices == [.virtioBlock(VmConfig.VirtioBlock(drive: "rootfs"))])
    }

    @Test func generalOptions() throws {
        accepts("-initrd", "i", "-cpu", "host,pmu=on")
        accepts("-initrd", "i", "-cpu", "pmu=on")
        for size in ["256m", "256", "1G", "size=300"] { accepts("-initrd", "i", "-m", size) }
        accepts("-initrd", "i", "-machine", "type=microvm,dump-guest-core=off,mem-share=on")
        accepts("-initrd", "i", "-global", "pcie-root-port.fast-unplug=1")
        accepts("-initrd", "i", "-D")
        accepts("-initrd", "i", "-D", "/path/to/log/file", "-daemonize", "-pidfile", "/path/to/pidfile")
        accepts("-initrd", "i", "-append", "console=ttyS0", "root=/dev/vda", "reboot=k", "panic=1", "rw")
        accepts("-initrd", "i", "-smp", "cpus=4,maxcpus=8,sockets=2,dies=1,clusters=1,cores=2,threads=2")
        // What libvirt adds.
        accepts(
            "-initrd", "i", "-overcommit", "mem-lock=off", "-no-user-config", "-nodefaults", "-sandbox", "on,obsolete=deny", "-msg", "timestamp=on",
            "-rtc", "base=utc", "-no-shutdown", "-nographic", "-realtime", "mlock=off", "-display", "none", "-usb", "-boot", "strict=on")
    }

    @Test func disks() throws {
        accepts(
            "-object", "iothread,id=iothread1", "-object", "iothread,id=iothread2", "-drive",
            "id=drive_id,file=path_on_host,readonly=off,direct=off,throttling.iops-total=200", "-device",
            "virtio-blk-device,drive=drive_id,id=blkid,iothread=iothread1,serial=serial_num")
        accepts("-drive", "id=d,file=f,discard=unmap,detect-zeroes=off,if=none,format=raw")
        accepts("-drive", "id=d,file=f,readonly=true,aio=native,direct=true", "-device", "virtio-blk-device,drive=d")
        accepts("-drive", "id=d,file=f,media=disk,aio=off,direct=false", "-device", "virtio-blk-device,drive=d,bootindex=1")
    }

    @Test func networks() throws {
        let device = "virtio-net-device,netdev=netdevid,id=netid,iothread=iothread1,mac=12:34:56:78:9A:BC"
        for netdev in ["ifname=host_dev_name", "ifname=host_dev_name,vhost=on", "ifname=host_dev_name,vhost=on,vhostfd=3", "fd=4", "fds=4:5,queues=2"] {
            accepts("-initrd", "i", "-object", "iothread,id=iothread1", "-netdev", "tap,id=netdevid,\(netdev)", "-device", device)
        }
    }

    @Test func consoles() throws {
        let chardev = "socket,path=socket_path,id=virtioconsole1,server,nowait"
        for port in ["virtconsole,chardev=virtioconsole1,id=console_id", "virtconsole,id=console_id,chardev=virtioconsole1,nr=0",
                     "virtserialport,id=serialport_id,chardev=virtioconsole1,nr=0"] {
            accepts("-device", "virtio-serial-device,id=virtio-serial0", "-chardev", chardev, "-device", port)
            accepts("-device", "virtio-serial-device", "-chardev", chardev, "-device", port)
        }
        for serial in ["stdio", "pty", "socket,path=p,server,nowait", "socket,port=5,host=127.0.0.1,server,nowait", "socket,port=5,server,nowait",
                       "file,path=file_path"] {
            accepts("-initrd", "i", "-serial", serial)
        }
        for chardev in ["stdio,id=c", "pty,id=c", "socket,id=c,path=p", "socket,id=c,path=p,server,nowait", "socket,id=c,port=4", "file,id=c,path=p",
                        "socket,id=c,port=4,host=127.0.0.1,server,nowait", "redirect-to-log,id=c"] {
            accepts("-chardev", chardev, "-serial", "chardev:c")
        }
    }

    @Test func otherDevices() throws {
        accepts("-initrd", "i", "-device", "vhost-vsock-device,id=vsock_id,guest-cid=3")
        accepts(
            "-initrd", "i", "-object", "rng-random,id=objrng0,filename=/path/to/random_file", "-device",
            "virtio-rng-device,rng=objrng0,max-bytes=1234,period=1000")
        accepts(
            "-machine", "microvm,mem-share=on", "-chardev", "socket,id=chardevid,path=socket_path", "-device",
            "vhost-user-fs-device,id=device_id,chardev=chardevid,tag=mount_tag")
    }
}
