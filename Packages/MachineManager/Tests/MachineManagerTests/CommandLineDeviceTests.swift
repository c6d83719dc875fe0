import Testing

@testable import MachineManager

/// What the user reads for one device, less its name.
private func deviceMessage(_ value: String, _ words: String...) -> String {
    let name = String(value.prefix { $0 != "," })
    let text = message(["-initrd", "i"] + words + ["-device", value])
    return text.hasPrefix("-device \(name): ") ? String(text.dropFirst("-device \(name): ".count)) : text
}

@Suite struct CommandLineDeviceTests {
    @Test func entropy_rightValues() throws {
        let config = try parse([
            "-initrd", "i", "-device", "virtio-rng-device,rng=r,max-bytes=1024,period=1000", "-object", "rng-random,id=r,filename=/dev/urandom",
        ])
        var expected = VmConfig.VirtioRng(id: "r", rng: "r")
        expected.maximumBytes = 1024
        expected.period = 1000
        #expect(config.devices == [.virtioRng(expected)])
        #expect(config.rngSources == [VmConfig.RngSource(id: "r", filename: "/dev/urandom")])
    }

    @Test(arguments: [
        ("max-bytes=64,period=1000", true), ("max-bytes=63,period=1000", false), ("max-bytes=1000000000,period=1000", true),
        ("max-bytes=1000000001,period=1000", false), ("max-bytes=1,period=15", true), ("max-bytes=1,period=16", false),
        ("max-bytes=18446744073709551615,period=18446744073709551615", true),
        ("max-bytes=18446744073709551615,period=1", false), ("max-bytes=1,period=18446744073709551615", false),
    ])
    func entropy_rate_isLimited(_ value: String, _ isRight: Bool) {
        let expected = isRight ? "accepted" : "max-bytes= in each period= must be from 64 to 1000000000 bytes a second"
        #expect(deviceMessage("virtio-rng-device,rng=r," + value, "-object", "rng-random,id=r,filename=f") == expected)
    }

    @Test(arguments: [
        ("", "rng= is missing"),
        (",rng=x", "there is no -object rng-random with id 'x'"),
        (",rng=t", "there is no -object rng-random with id 't'"),
        (",rng=r,max-bytes=1000", "max-bytes= and period= go together"),
        (",rng=r,period=1000", "max-bytes= and period= go together"),
        (",rng=r,max-bytes=1000,period=0", "period= must be at least 1, not '0'"),
        (",rng=r,max-bytes=0,period=1", "max-bytes= must be at least 1, not '0'"),
        (",rng=r,bus=pcie.0", "bus= is for PCI devices, which a microvm has none of"),
    ])
    func entropy_wrongValues(_ value: String, _ expected: String) {
        #expect(deviceMessage("virtio-rng-device" + value, "-object", "rng-random,id=r,filename=f", "iothread,id=t") == expected)
    }

    @Test func vsock_rightValues() throws {
        for (value, cid, descriptor) in [
            ("guest-cid=3", 3, nil), ("guest-cid=4294967295,vhostfd=7", 0xffff_ffff, 7),
        ] as [(String, UInt64, Int32?)] {
            let config = try parse(["-initrd", "i", "-device", "vhost-vsock-device,id=v," + value])
            #expect(config.devices == [.vhostVsock(VmConfig.VhostVsock(id: "v", guestCID: cid, descriptor: descriptor))])
        }
    }

    @Test(arguments: [
        ("", "guest-cid= is missing"),
        (",guest-cid=2", "guest-cid= must be a number from 3 to 4294967295, not '2'"),
        (",guest-cid=4294967296", "guest-cid= must be a number from 3 to 4294967295, not '4294967296'"),
        (",guest-cid=3,vhostfd=1", "vhostfd= must be the number of an open descriptor, at least 3, not '1'"),
        (",guest-cid=3,vhostfd=sock", "vhostfd= must be the number of an open descriptor, at least 3, not 'sock'"),
    ])
    func vsock_wrongValues(_ value: String, _ expected: String) {
        #expect(deviceMessage("vhost-vsock-device" + value) == expected)
        #expect(deviceMessage("vhost-vsock-device,guest-cid=4", "-device", "vhost-vsock-device,guest-cid=3") == "there can be only one")
    }

    @Test func vsockOverUnixSockets_rightValues() throws {
        let config = try parse([
            "-initrd", "i", "-object", "iothread,id=t", "-device", "virtio-vsock-device,guest-cid=4294967294,path=/run/vm.vsock,iothread=t",
        ])
        #expect(config.devices == [.virtioVsock(VmConfig.VirtioVsock(id: "virtio-vsock-device", guestCID: 0xffff_fffe, path: "/run/vm.vsock", iothread: "t"))])
        let long = "/" + String(repeating: "p", count: 95)
        let other = try parse(["-initrd", "i", "-device", "virtio-vsock-device,id=v,guest-cid=3,path=" + long])
        #expect(other.devices == [.virtioVsock(VmConfig.VirtioVsock(id: "v", guestCID: 3, path: long))])
        #expect(deviceMessage("virtio-vsock-device,guest-cid=3,path=" + long + "p") == "path= is longer than 96 bytes")
    }

    @Test(arguments: [
        ("", "guest-cid= is missing"),
        (",guest-cid=3", "path= is missing"),
        (",guest-cid=2,path=p", "guest-cid= must be a number from 3 to 4294967294, not '2'"),
        (",guest-cid=4294967295,path=p", "guest-cid= must be a number from 3 to 4294967294, not '4294967295'"),
        (",guest-cid=3,path=", "path= needs a value"),
        (",guest-cid=3,path=p,iothread=t", "there is no -object iothread with id 't'"),
        (",guest-cid=3,path=p,vhostfd=5", "unknown parameter 'vhostfd'"),
        (",guest-cid=3,path=p,addr=0x3", "addr= is for PCI devices, which a microvm has none of"),
    ])
    func vsockOverUnixSockets_wrongValues(_ value: String, _ expected: String) {
        #expect(deviceMessage("virtio-vsock-device" + value) == expected)
    }

    @Test func vsock_isOneOfTwoKinds() {
        let socket = "virtio-vsock-device,path=p"
        for (first, second) in [(socket, "vhost-vsock-device"), ("vhost-vsock-device", socket), (socket, "virtio-vsock-device,path=q")] {
            #expect(deviceMessage(second + ",guest-cid=4", "-device", first + ",guest-cid=3") == "there can be only one")
        }
    }

    private static let share = ["-machine", "microvm,mem-share=on"]
    private static let tag36 = String(repeating: "t", count: 36)

    @Test func sharedFolder_connects_whateverItsChardevSays() throws {
        for server in ["", ",server,nowait"] {
            let config = try parse(
                Self.share + ["-device", "vhost-user-fs-device,chardev=c,tag=\(Self.tag36)", "-chardev", "socket,id=c,path=p\(server)"])
            let socket = VmConfig.Chardev.Socket(address: .unix(path: "p"), isServer: false)
            #expect(config.chardevs == [VmConfig.Chardev(id: "c", backend: .socket(socket))])
            #expect(config.devices == [.vhostUserFileSystem(VmConfig.VhostUserFileSystem(id: "c", chardev: "c", tag: Self.tag36))])
        }
    }

    @Test(arguments: [
        ("", "chardev= is missing"),
        (",chardev=c", "tag= is missing"),
        (",chardev=c,tag=", "tag= needs a value"),
        (",chardev=c,tag=1234567890123456789012345678901234567", "tag= is longer than 36 bytes"),
        (",chardev=x,tag=t", "there is no -chardev with id 'x'"),
        (",chardev=d,tag=t", "chardev 'd' must be a socket with path="),
        (",chardev=e,tag=t", "chardev 'e' must be a socket with path="),
        (",chardev=c,tag=t,num-queues=2", "unknown parameter 'num-queues'"),
    ])
    func sharedFolder_wrongValues(_ value: String, _ expected: String) {
        let chardevs = ["socket,id=c,path=p", "pty,id=d", "socket,id=e,port=1"]
        #expect(
            deviceMessage("vhost-user-fs-device" + value, "-machine", "microvm,mem-share=on", "-chardev", chardevs[0], chardevs[1], chardevs[2])
                == expected)
    }

    @Test func sharedFolders_needSharedMemoryAndOwnTags() {
        let chardevs = ["-chardev", "socket,id=c,path=p", "socket,id=d,path=q"]
        let device = "vhost-user-fs-device,tag=t,chardev="
        #expect(message(chardevs + ["-device", device + "c"]) == "-device vhost-user-fs-device: needs -machine mem-share=on")
        #expect(message(Self.share + chardevs + ["-device", device + "c", device + "d"]) == "-device vhost-user-fs-device: tag 't' is used twice")
    }

    @Test func vhostUserDisk_connects_whateverItsChardevSays() throws {
        for server in ["", ",server,nowait"] {
            let config = try parse(
                Self.share + ["-chardev", "socket,id=c,path=p\(server)", "socket,id=d,path=q", "-device", "vhost-user-blk-device,chardev=c,bootindex=1"]
                    + ["-device", "vhost-user-blk-device,chardev=d,id=disk,num-queues=4,queue-size=1024"])
            let socket = VmConfig.Chardev.Socket(address: .unix(path: "p"), isServer: false)
            #expect(config.chardevs.first == VmConfig.Chardev(id: "c", backend: .socket(socket)))
            var other = VmConfig.VhostUserBlock(id: "disk", chardev: "d")
            (other.queues, other.queueSize) = (4, 1024)
            #expect(config.devices == [.vhostUserBlock(VmConfig.VhostUserBlock(id: "c", chardev: "c")), .vhostUserBlock(other)])
        }
    }

    @Test(arguments: [
        ("", "chardev= is missing"),
        (",chardev=x", "there is no -chardev with id 'x'"),
        (",chardev=d", "chardev 'd' must be a socket with path="),
        (",chardev=c,num-queues=0", "num-queues= must be a number from 1 to 32, not '0'"),
        (",chardev=c,num-queues=33", "num-queues= must be a number from 1 to 32, not '33'"),
        (",chardev=c,queue-size=2", "queue-size= must be a power of two from 4 to 1024, not '2'"),
        (",chardev=c,queue-size=2048", "queue-size= must be a power of two from 4 to 1024, not '2048'"),
        (",chardev=c,queue-size=100", "queue-size= must be a power of two from 4 to 1024, not '100'"),
        (",chardev=c,drive=x", "unknown parameter 'drive'"),
        (",chardev=c,bus=x", "bus= is for PCI devices, which a microvm has none of"),
    ])
    func vhostUserDisk_wrongValues(_ value: String, _ expected: String) {
        #expect(deviceMessage("vhost-user-blk-device" + value, "-machine", "microvm,mem-share=on", "-chardev", "socket,id=c,path=p", "pty,id=d") == expected)
    }

    @Test func vhostUserDisks_needSharedMemoryAndOwnChardevs() {
        let chardev = ["-chardev", "socket,id=c,path=p"]
        let device = ["-device", "vhost-user-blk-device,chardev=c"]
        #expect(message(chardev + device) == "-device vhost-user-blk-device: needs -machine mem-share=on")
        #expect(message(Self.share + chardev + device + device) == "-device vhost-user-blk-device: chardev 'c' is used by two devices")
    }

    @Test(arguments: [
        ("", "-object: needs a kind of object"),
        ("iothread", "-object iothread: id= is missing"),
        ("iothread,id=t,poll-grow=1", "-object iothread: unknown parameter 'poll-grow'"),
        ("rng-random,id=r", "-object rng-random: filename= is missing"),
        ("rng-random,filename=r", "-object rng-random: id= is missing"),
        ("rng-random,id=r,filename=" + String(repeating: "f", count: 4096), "-object rng-random: filename= is longer than 4095 bytes"),
        ("iothread,id=" + String(repeating: "t", count: 256), "-object iothread: id= is longer than 255 bytes"),
        ("rng-egd,id=r", "-object: unknown kind of object 'rng-egd'"),
        ("authz-simple,id=m", "-object authz-simple: not supported yet"),
        ("tls-creds-x509,id=m", "-object tls-creds-x509: not supported yet"),
    ])
    func object_wrongValues(_ value: String, _ expected: String) {
        #expect(message("-object", value) == expected)
    }

    @Test func objects_areCountedAndNamed() throws {
        let threads = (0..<8).flatMap { ["-object", "iothread,id=t\($0)"] }
        #expect(try parse(["-initrd", "i"] + threads).iothreads.count == 8)
        #expect(try parse(["-initrd", "i"] + threads).iothreads.first == VmConfig.IOThread(id: "t0", polling: 32768))
        #expect(try parse(["-initrd", "i", "-object", "iothread,id=t,poll-max-ns=0"]).iothreads == [VmConfig.IOThread(id: "t", polling: 0)])
        #expect(message(threads + ["-object", "iothread,id=t8"]) == "-object iothread: there can be at most 8")
        #expect(message("-object", "iothread,id=t", "iothread,id=t") == "-object iothread: id 't' is used twice")
        #expect(message("-object", "rng-random,id=t,filename=f", "rng-random,id=t,filename=f") == "-object rng-random: id 't' is used twice")
        #expect(message("-initrd", "i", "-object", "rng-random,id=t,filename=f", "iothread,id=t") == "accepted")
    }

    @Test func ids_thatAreLeftOut_areMade_andDoNotCollide() throws {
        let config = try parse([
            "-drive", "id=x,file=f", "-netdev", "tap,id=x,fd=3", "-object", "rng-random,id=x,filename=f", "-chardev", "pty,id=x", "-device",
            "virtio-blk-device,drive=x", "virtio-net-device,netdev=x", "virtio-rng-device,rng=x", "virtconsole,chardev=x",
            "virtio-serial-device", "vhost-vsock-device,guest-cid=3,id=x-3",
        ])
        #expect(config.devices.map(\.id) == ["x", "x-2", "x-4", "x-5", "virtio-serial-device", "x-3"])
    }

    @Test func ids_areUniqueAmongAllDevices() {
        #expect(
            message("-drive", "id=a,file=f", "-device", "virtio-blk-device,drive=a,id=x", "vhost-vsock-device,guest-cid=3,id=x")
                == "-device vhost-vsock-device: id 'x' is used twice")
    }

    @Test func unusedParts_areTold() throws {
        let config = try parse([
            "-drive", "id=a,file=f,throttling.iops-total=5", "-netdev", "tap,id=n,fd=3", "-object", "rng-random,id=r,filename=f", "-chardev",
            "pty,id=c", "-m", "256M,maxmem=1G",
        ])
        #expect(
            config.unusedParts(on: .x86_64) == [
                "-chardev: nothing uses 'c'", "-drive: no -device uses 'a'", "-netdev: no -device uses 'n'", "-object rng-random: no -device uses 'r'", "-m: maxmem= has no effect: memory cannot be added yet",
            ])
        #expect(try parse(["-drive", "id=a,file=f", "-device", "virtio-blk-device,drive=a"]).unusedParts(on: .x86_64).isEmpty)
    }
}
