import Foundation
import LinuxSys
import Testing

/// Every device of the command line, as a guest of a few instructions sees it.
@Suite struct DeviceTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    /// The register of the virtio-mmio device at a place on the bus (virtio 1.2, section 4.2.2).
    private static func register(_ place: UInt32, _ offset: UInt32) -> UInt32 { 0xf010_0000 + 0x200 * place + offset }
    private static func deviceID(_ place: UInt32) -> UInt32 { register(place, 8) }

    private func arguments(_ payload: Payload, _ more: [String], qmp: Bool = true) throws -> [String] {
        let kernel = try folder.write("payload.bin", payload.bytes)
        _ = try folder.image("disk.img", size: 1 << 20)
        return ["-m", "128", "-kernel", kernel, "-drive", "file=disk.img,id=d,direct=off", "-device", "virtio-blk-device,drive=d", "-serial", "stdio"]
            + (qmp ? ["-qmp", "unix:q.sock,server,nowait"] : []) + more
    }

    /// The 32-bit words that the guest of `more` prints.
    private func words(_ addresses: [UInt32], _ more: [String], qmp: Bool = true) throws -> [UInt32] {
        let payload = addresses.reduce(Payload().mapDevices()) { $0.printWord(at: $1) }.reset()
        let program = try Program(try arguments(payload, more, qmp: qmp), in: folder)
        let result = try program.wait()
        guard result.code == 0 else { throw Program.Failure(description: result.error) }
        let bytes = program.outputBytes
        return stride(from: 0, to: bytes.count - 3, by: 4).map { start in (0..<4).reduce(0) { $0 | UInt32(bytes[start + $1]) << (8 * $1) } }
    }

    private func refuses(_ more: [String], _ message: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
        let arguments = try arguments(Payload().reset(), more)
        let before = folder.names
        let result = try Program.run(arguments, in: folder)
        #expect(result.error == "stratovirt: \(message)\n", sourceLocation: sourceLocation)
        #expect(result.code == 1 && result.output == "" && folder.names == before, sourceLocation: sourceLocation)
    }

    @Test func slots_areThereWhateverIsInThem() throws {
        // Four disks, the first with 2048 sectors; two network devices; nothing behind them.
        #expect(try words((0..<7).map(Self.deviceID) + (0..<4).map { Self.register($0, 0x100) }, []) == [2, 2, 2, 2, 1, 1, 0xffff_ffff, 2048, 0, 0, 0])
    }

    @Test func withoutQMP_onlyFilledSlotsAreThere_andOtherDevicesFollow() throws {
        let more = ["-object", "rng-random,id=r,filename=/dev/urandom", "-device", "virtio-rng-device,rng=r"]
        #expect(try words((0..<3).map(Self.deviceID) + [Self.register(0, 0x100)], more, qmp: false) == [2, 4, 0xffff_ffff, 2048])
    }

    @Test func furtherDevices_followInTheOrderOfTheCommandLine() throws {
        let more = ["-object", "rng-random,id=r,filename=/dev/urandom", "-device", "virtio-rng-device,rng=r,id=rng,max-bytes=1024,period=1000",
                    "-chardev", "socket,id=c,path=c.sock,server,nowait", "-device", "virtio-serial-device,id=vs", "-device", "virtconsole,chardev=c,id=con,nr=0",
                    "-object", "iothread,id=io", "-drive", "file=other.img,id=e,direct=off", "-device", "virtio-blk-device,drive=e,iothread=io"]
        _ = try folder.image("other.img", size: 4 << 20)
        #expect(try words((0..<9).map(Self.deviceID) + [Self.register(1, 0x100)], more) == [2, 2, 2, 2, 1, 1, 4, 3, 0xffff_ffff, 8192])
        #expect(!folder.names.contains("c.sock") && !folder.names.contains("q.sock"))
    }

    @Test func sources_thatCannotBeUsed_areNamed() throws {
        try refuses(["-object", "rng-random,id=r,filename=/nonexistent", "-device", "virtio-rng-device,rng=r"], "-object rng-random: cannot open '/nonexistent': No such file or directory")
        try refuses(["-object", "rng-random,id=r,filename=disk.img", "-device", "virtio-rng-device,rng=r"], "-object rng-random: 'disk.img' is not a character device")
        try refuses(["-chardev", "socket,id=c,path=/nonexistent/c,server,nowait", "-device", "virtio-serial-device", "-device", "virtconsole,chardev=c,nr=0"],
                    "-chardev c: cannot listen on '/nonexistent/c': No such file or directory")
    }

    // MARK: Network

    @Test(.enabled(if: Tap.isPossible)) func tapByName_isMadeAndGoesWithTheMachine() throws {
        let name = Tap.name()
        let payload = Payload().mapDevices().printWord(at: Self.register(4, 0x100)).printWord(at: Self.register(4, 0x104)).print("up").spin()
        let program = try Program(try arguments(payload, ["-netdev", "tap,id=n,ifname=\(name)", "-device", "virtio-net-device,netdev=n,mac=52:54:00:aa:bb:cc"]), in: folder)
        try program.waitForOutput("up")
        // The address, then the status word: link up.
        #expect(Array(program.outputBytes.prefix(8)) == [0x52, 0x54, 0x00, 0xaa, 0xbb, 0xcc, 1, 0])
        #expect(Tap.exists(name))
        program.signal(SIGTERM)
        #expect(try program.wait().code == 0)
        #expect(!Tap.exists(name))
    }

    @Test(.enabled(if: Tap.isPossible)) func inheritedTap_isUsed_andTheRestIsClosed() throws {
        let name = Tap.name()
        let more = ["-netdev", "tap,id=n,fds=3:4,queues=2", "-device", "virtio-net-device,netdev=n,mq=on"]
        let options = try arguments(Payload().print("up").spin(), more)
        let program = try Program(Tap.opening(name, queues: 4, then: [try Program.path] + options), executable: "/usr/bin/python3", in: folder)
        try program.waitForOutput("up")
        let descriptors = ProcessFacts(id: program.processID).descriptors
        // 5 and 6 are taps as well: a netdev_add may still name them.
        for number in 3...6 { #expect(descriptors[number] == "/dev/net/tun") }
        let client = try QMPClient.greeted(path: folder.path("q.sock"))
        try client.must("netdev_add", "{\"id\":\"m\",\"type\":\"tap\",\"fds\":\"5\"}")
        #expect(try client.refused("netdev_add", "{\"id\":\"o\",\"type\":\"tap\",\"fds\":\"5\"}")?.contains("descriptor 5 is used twice") == true)
        #expect(try client.refused("netdev_add", "{\"id\":\"o\",\"type\":\"tap\",\"fds\":\"0\"}") 
            == "netdev_add: 'fds' must be the number of an open descriptor, at least 3, or the name of one, not '0'")
        try client.must("quit")
        #expect(try program.wait().code == 0)
        #expect(!Tap.exists(name))
    }

    @Test(.enabled(if: Tap.isPossible)) func descriptorThatIsNoTap_isRefused() throws {
        let options = try arguments(Payload().reset(), ["-netdev", "tap,id=n,fds=3", "-device", "virtio-net-device,netdev=n"]).joined(separator: " ")
        func start(_ redirection: String) throws -> Program.Result {
            try Program(["-c", "exec '\(try Program.path)' \(options) \(redirection)"], executable: "/bin/sh", in: folder).wait()
        }
        let before = folder.names
        #expect(try start("3</dev/null").error == "stratovirt: -netdev n: descriptor 3 is not a tap: Inappropriate ioctl for device\n")
        #expect(try start("3<disk.img").error == "stratovirt: -netdev n: descriptor 3 is not a tap: Inappropriate ioctl for device\n")
        #expect(try start("").error == "stratovirt: -netdev n: descriptor 3 was not open when the program started\n")
        let pipe = try Program(["-c", "true | exec '\(try Program.path)' \(options) 3<&0 </dev/null"], executable: "/bin/sh", in: folder).wait()
        #expect(pipe.error == "stratovirt: -netdev n: descriptor 3 is not a tap: Inappropriate ioctl for device\n" && pipe.code == 1)
        #expect(folder.names == before)
    }

    @Test(.enabled(if: Tap.isPossible)) func tunDeviceOrTapWithoutHeaders_isRefused() throws {
        let options = try arguments(Payload().reset(), ["-netdev", "tap,id=n,fd=3", "-device", "virtio-net-device,netdev=n"])
        for (flags, message) in [(0x4001, "descriptor 3 is a tun, not a tap"), (0x0002, "the tap of descriptor 3 was opened without IFF_VNET_HDR")] {
            let program = try Program(Tap.opening(Tap.name(), flags: flags, then: [try Program.path] + options), executable: "/usr/bin/python3", in: folder)
            #expect(try program.wait().error == "stratovirt: -netdev n: \(message)\n")
        }
    }

    @Test func vsock_withoutOrWithTheWrongDescriptor_isRefused() throws {
        let device = ["-device", "vhost-vsock-device,id=v,guest-cid=3,vhostfd=3"]
        try refuses(device, "-device vhost-vsock-device: descriptor 3 was not open when the program started")
        let options = try arguments(Payload().reset(), device).joined(separator: " ")
        let result = try Program(["-c", "exec '\(try Program.path)' \(options) 3</dev/null"], executable: "/bin/sh", in: folder).wait()
        #expect(result.error == "stratovirt: -device vhost-vsock-device: descriptor 3 is no vhost device: Inappropriate ioctl for device\n")
    }

    // MARK: Vsock over unix sockets

    private static func socketVsock(_ path: String, _ more: String = "") -> [String] { ["-device", "virtio-vsock-device,guest-cid=77,path=\(path)\(more)"] }

    @Test func vsockOverUnixSockets_isASocketDeviceWithItsCID_alsoOnAnIOThread() throws {
        let more = ["-object", "iothread,id=io"] + Self.socketVsock("vsock", ",iothread=io")
        #expect(try words([Self.deviceID(6), Self.register(6, 0x100), Self.register(6, 0x104), Self.deviceID(7)], more) == [19, 77, 0, 0xffff_ffff])
        #expect(!folder.names.contains("vsock"))
    }

    @Test func vsockOverUnixSockets_thatCannotListen_isRefused() throws {
        try refuses(Self.socketVsock("/nonexistent/vsock"), "-device virtio-vsock-device: cannot listen on '/nonexistent/vsock': No such file or directory")
        let listener = try StreamSocket.listen(path: folder.path("vsock"))
        try refuses(Self.socketVsock("vsock"), "-device virtio-vsock-device: cannot listen on 'vsock': it is in use")
        _ = consume listener
    }

    /// A guest without a driver takes no packet: whoever connects learns so in time, and the next ones too.
    @Test func vsockOverUnixSockets_guestWithoutDriver_letsProgramsGo() throws {
        let program = try Program(try arguments(Payload().print("up").spin(), Self.socketVsock("vsock")), in: folder)
        try program.waitForOutput("up")
        #expect(try FileManager.default.attributesOfItem(atPath: folder.path("vsock"))[.posixPermissions] as? Int == 0o600)
        let sockets = try (0..<40).map { _ in try StreamSocket.connect(path: folder.path("vsock")).take() }
        defer { for socket in sockets { close(socket) } }
        for (index, socket) in sockets.enumerated() where index % 4 != 0 {
            let line = ["", "CONNECT 52\n", "CONNECT 52", "nonsense\n"][index % 4]
            #expect(send(socket, line, line.utf8.count, 0) == line.utf8.count)
        }
        for socket in sockets {
            try until("the program lets go") {
                var byte: UInt8 = 0
                return recv(socket, &byte, 1, Int32(MSG_DONTWAIT)) == 0
            }
        }
        #expect(ProcessFacts(id: program.processID).descriptors.values.count { $0.hasPrefix("socket:") } <= 3)
        program.signal(SIGTERM)
        #expect(try program.wait().code == 0)
        #expect(!folder.names.contains("vsock"))
    }

    // MARK: Shared folders

    private static let share = ["-machine", "microvm,mem-share=on", "-chardev", "socket,id=f,path=fs.sock,server,nowait",
                                "-device", "vhost-user-fs-device,chardev=f,tag=share,id=fs"]

    @Test func share_withoutBackEnd_isRefused() throws {
        try refuses(Self.share, "-device vhost-user-fs-device,tag=share: cannot connect to 'fs.sock': No such file or directory")
    }

    @Test func share_whoseBackEndHangsUpOrTalksNonsense_isRefused() throws {
        let listener = try StreamSocket.listen(path: folder.path("fs.sock"))
        for reply in [[], [UInt8](repeating: 0x41, count: 64)] {
            let program = try Program(try arguments(Payload().reset(), Self.share), in: folder)
            var accepted: Int32 = -1
            try until("the program connects") {
                guard let socket = try? StreamSocket.accept(listener) else { return false }
                accepted = socket.take()
                return true
            }
            let socket = OwnedFD(adopting: accepted)
            if reply.isEmpty { _ = consume socket } else { _ = try? socket.send(reply) }
            let result = try program.wait()
            #expect(result.code == 1 && result.error.hasPrefix("stratovirt: -device vhost-user-fs-device,tag=share: the vhost-user back end "), "\(result)")
        }
        #expect(!folder.names.contains("q.sock"))
    }

    @Test func share_whoseBackEndIsSilent_isGivenUp() throws {
        let listener = try StreamSocket.listen(path: folder.path("fs.sock"))
        let result = try Program.run(try arguments(Payload().reset(), Self.share), in: folder)
        #expect(result.error == "stratovirt: -device vhost-user-fs-device,tag=share: the vhost-user back end does not answer\n")
        _ = listener.raw
    }

    private static let virtiofsd = ["/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd"].first { FileManager.default.isExecutableFile(atPath: $0) }

    @Test(.enabled(if: getenv("CI") != nil || geteuid() == 0 && virtiofsd != nil, "needs virtiofsd and root")) func share_withVirtiofsd_showsItsTag() throws {
        try FileManager.default.createDirectory(at: folder.file("shared"), withIntermediateDirectories: true)
        // The namespaces of the default sandbox need more than a container may have.
        let options = Self.virtiofsd == "/usr/lib/qemu/virtiofsd" ? ["-o", "source=\(folder.path("shared"))", "-o", "sandbox=chroot", "--rlimit-nofile=0"]
            : ["--shared-dir=shared", "--sandbox=chroot"]
        let server = try Program(["--socket-path=fs.sock"] + options, executable: try #require(Self.virtiofsd), in: folder)
        try until("virtiofsd listens, \(server.error)") { folder.names.contains("fs.sock") || !server.isRunning }
        try #require(server.isRunning, "\(server.error)")
        let program = try Program(try arguments(Payload().mapDevices().printWord(at: Self.deviceID(6)).printWord(at: Self.register(6, 0x100)).reset(), Self.share), in: folder)
        let result = try program.wait()
        #expect(program.outputBytes == [26, 0, 0, 0] + Array("shar".utf8), "\(result) \(server.error)")
        server.signal(SIGTERM)
    }
}
