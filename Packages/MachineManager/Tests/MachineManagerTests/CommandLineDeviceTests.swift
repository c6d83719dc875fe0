import Testing

@testable import MachineManager

private func parse(_ words: [String]) throws -> VmConfig {
    guard case .run(let config) = try CommandLineParser.parse(["-kernel", "k"] + words) else {
        throw CommandLineError.conflict("not a configuration")
    }
    return config
}

private func message(_ words: String...) -> String {
    do {
        _ = try CommandLineParser.parse(["-kernel", "k"] + words)
        return "accepted"
    } catch {
        return error.description
    }
}

@Suite struct CommandLineDeviceTests {
    @Test func drive_defaults() throws {
        let drive = try #require(try parse(["-drive", "id=d,file=f"]).drives.first)
        #expect(drive == VmConfig.Drive(id: "d", file: "f"))
        #expect(!drive.isReadOnly && drive.isDirect && !drive.discards && drive.asyncIO == .automatic)
    }

    @Test func drive_everyParameter() throws {
        let value = "id=d,file=f,if=none,format=raw,readonly=on,direct=off,aio=threads,media=disk,discard=unmap,detect-zeroes=off"
        let drive = try #require(try parse(["-drive", value]).drives.first)
        #expect(drive.isReadOnly && !drive.isDirect && drive.discards && drive.asyncIO == .threads)
        #expect(try parse(["-drive", "id=d,file=f,aio=io_uring"]).drives.first?.asyncIO == .ioUring)
    }

    @Test(arguments: [
        ("file=f", "-drive: id= is missing"),
        ("id=d", "-drive: file= is missing"),
        ("id=d,file=", "-drive: file= needs a value"),
        ("id=d,file=f,aio=native", "-drive aio=native: not supported yet"),
        ("id=d,file=f,aio=off", "-drive aio=off: not supported yet"),
        ("id=d,file=f,aio=epoll", "-drive: aio= must be io_uring or threads, not 'epoll'"),
        ("id=d,file=f,format=qcow2", "-drive format=qcow2: not supported yet"),
        ("id=d,file=f,format=vmdk", "-drive: format= must be raw, not 'vmdk'"),
        ("if=pflash,unit=0,file=f", "-drive if=pflash: not supported yet"),
        ("id=d,file=f,media=cdrom", "-drive media=cdrom: not supported yet"),
        ("id=d,file=f,detect-zeroes=unmap", "-drive detect-zeroes=unmap: not supported yet"),
        ("id=d,file=f,throttling.iops-total=1", "-drive throttling.iops-total=: not supported yet"),
        ("id=d,file=f,l2-cache-size=1M", "-drive l2-cache-size=: not supported yet"),
        ("id=d,file=f,readonly=perhaps", "-drive: readonly= must be on or off, not 'perhaps'"),
        ("id=d,file=f,readonly", "-drive: readonly= needs a value"),
        ("id=d,file=f,file=g", "-drive: file= is given more than once"),
        ("id=d,file=f,cache=none", "-drive: unknown parameter 'cache'"),
        ("rootfs", "-drive: unknown parameter 'rootfs'"),
        ("id=" + String(repeating: "d", count: 256) + ",file=f", "-drive: id= is longer than 255 bytes"),
        ("id=d,file=" + String(repeating: "f", count: 4096), "-drive: file= is longer than 4095 bytes"),
    ])
    func drive_wrongValues(_ value: String, _ expected: String) {
        #expect(message("-drive", value) == expected)
    }

    @Test func drives_canFollowOneOption() throws {
        #expect(try parse(["-drive", "id=a,file=f", "id=b,file=g", "-S", "-drive", "id=c,file=h"]).drives.map(\.id) == ["a", "b", "c"])
        #expect(message("-drive", "id=a,file=f", "-drive", "id=a,file=g") == "-drive: id 'a' is used twice")
    }

    @Test func device_beforeItsDrive_isUnderstood() throws {
        let config = try parse(["-device", "virtio-blk-device,drive=a,id=x,serial=01234567890123456789", "-drive", "id=a,file=f"])
        var expected = VmConfig.VirtioBlock(id: "x", drive: "a")
        expected.serial = "01234567890123456789"
        #expect(config.devices == [.virtioBlock(expected)])
    }

    @Test(arguments: [
        ("", "-device: needs a device"),
        ("floppy", "-device: unknown device 'floppy'"),
        ("drive=a", "-device: unknown device 'drive=a'"),
        ("virtio-blk-device", "-device virtio-blk-device: drive= is missing"),
        ("virtio-blk-device,drive=b", "-device: there is no -drive with id 'b'"),
        ("virtio-blk-device,drive=a,serial=012345678901234567890", "-device virtio-blk-device: serial= is longer than 20 bytes"),
        ("virtio-blk-device,drive=a,iothread=t", "-device virtio-blk-device iothread=: not supported yet"),
        ("virtio-blk-device,drive=a,bus=pcie.0", "-device virtio-blk-device bus=: not supported yet"),
        ("virtio-blk-device,drive=a,num-queues=4", "-device virtio-blk-device num-queues=: not supported yet"),
        ("virtio-blk-device,drive=a,color=red", "-device virtio-blk-device: unknown parameter 'color'"),
    ])
    func device_wrongValues(_ value: String, _ expected: String) {
        #expect(message("-drive", "id=a,file=f", "-device", value) == expected)
    }

    @Test func devices_shareNeitherIdsNorDrives() {
        let drives = ["id=a,file=f", "id=b,file=g"]
        #expect(
            message("-drive", drives[0], drives[1], "-device", "virtio-blk-device,drive=a,id=x", "virtio-blk-device,drive=b,id=x")
                == "-device: id 'x' is used twice")
        #expect(
            message("-drive", drives[0], "-device", "virtio-blk-device,drive=a", "-device", "virtio-blk-device,id=x,drive=a")
                == "-device: drive 'a' is used by two devices")
    }

    @Test(arguments: [
        ("unix:/a/b,server,nowait", .unix(path: "/a/b")),
        ("unix:a:b,nowait,server", .unix(path: "a:b")),
        ("unix:s,server=on,wait=off", .unix(path: "s")),
        ("tcp:127.0.0.1:4444,server,nowait", .tcp(host: "127.0.0.1", port: 4444)),
        ("tcp:0.0.0.0:65535,server,nowait", .tcp(host: "0.0.0.0", port: 65535)),
    ] as [(String, VmConfig.MonitorAddress)])
    func qmp_rightAddresses(_ value: String, _ expected: VmConfig.MonitorAddress) throws {
        #expect(try parse(["-initrd", "i", "-qmp", value]).monitors == [expected])
    }

    @Test(arguments: [
        ("unix:/a", "-qmp: needs server"),
        ("unix:/a,server", "-qmp: needs nowait"),
        ("unix:/a,nowait", "-qmp: needs server"),
        ("unix:/a,server,wait=on", "-qmp wait=on: not supported yet"),
        ("unix:,server,nowait", "-qmp: unix: needs a path"),
        ("unix:" + String(repeating: "p", count: 108) + ",server,nowait", "-qmp: the socket's path is longer than 107 bytes"),
        ("/a,server,nowait", "-qmp: must begin with unix: or tcp:, not '/a'"),
        ("tcp:localhost:1,server,nowait", "-qmp: tcp: needs an IPv4 address and a port, as in tcp:127.0.0.1:4444"),
        ("tcp:127.0.0.1,server,nowait", "-qmp: tcp: needs an IPv4 address and a port, as in tcp:127.0.0.1:4444"),
        ("tcp:1.2.3.256:1,server,nowait", "-qmp: tcp: needs an IPv4 address and a port, as in tcp:127.0.0.1:4444"),
        ("tcp:127.0.0.1:0,server,nowait", "-qmp: the port must be a number from 1 to 65535, not '0'"),
        ("tcp:127.0.0.1:65536,server,nowait", "-qmp: the port must be a number from 1 to 65535, not '65536'"),
        ("unix:/a,server,nowait,iothread=t", "-qmp iothread=: not supported yet"),
        ("unix:/a,server,nowait,x", "-qmp: unknown parameter 'x'"),
    ])
    func qmp_wrongAddresses(_ value: String, _ expected: String) {
        #expect(message("-qmp", value) == expected)
    }

    @Test(arguments: [
        ("stdio", .stdio), ("pty", .pty), ("file,path=/tmp/o", .file(path: "/tmp/o")),
        ("socket,path=/tmp/s,server,nowait", .socket(VmConfig.Chardev.Socket(address: .unix(path: "/tmp/s"), isServer: true))),
    ] as [(String, VmConfig.Chardev.Backend)])
    func serial_andChardev_everyBackend(_ value: String, _ backend: VmConfig.Chardev.Backend) throws {
        let serial = try parse(["-initrd", "i", "-serial", value])
        #expect(serial.serial == VmConfig.Chardev(id: "serial_chardev", backend: backend))
        let chardev = try parse(["-chardev", value + ",id=c"])
        #expect(chardev.chardevs == [VmConfig.Chardev(id: "c", backend: backend)] && chardev.serial == nil)
        let both = try parse(["-serial", "chardev:c", "-chardev", value + ",id=c"])
        #expect(both.serial == VmConfig.Chardev(id: "c", backend: backend) && both.chardevs.isEmpty)
    }

    @Test(arguments: [
        ("", "-chardev: needs a type"),
        ("null,id=c", "-chardev: unknown type 'null'"),
        ("redirect-to-log,id=c", "-chardev redirect-to-log: not supported yet"),
        ("stdio", "-chardev stdio: id= is missing"),
        ("stdio,id=c,path=p", "-chardev stdio: unknown parameter 'path'"),
        ("file,id=c", "-chardev file: path= is missing"),
        ("socket,id=c,server,nowait", "-chardev socket: path= or port= is missing"),
        ("socket,id=c,path=p,port=1,server,nowait", "-chardev socket: path= and port= exclude each other"),
        ("socket,id=c,path=p,host=1.2.3.4,server,nowait", "-chardev socket: host= goes with port=, not with path="),
        ("socket,id=c,port=1,host=here,server,nowait", "-chardev socket: host= must be an IPv4 address, not 'here'"),
        ("socket,id=c,port=0,server,nowait", "-chardev socket: port= must be a number from 1 to 65535, not '0'"),
        ("socket,id=c,port=1,server,nowait", "-chardev socket with port=, other than for -mon: not supported yet"),
        ("socket,id=c,path=p", "-chardev socket: needs server"),
        ("socket,id=c,path=p,server", "-chardev socket: needs nowait"),
        ("socket,id=c,path=" + String(repeating: "p", count: 108) + ",server,nowait", "-chardev socket: path= is longer than 107 bytes"),
    ])
    func chardev_wrongValues(_ value: String, _ expected: String) {
        #expect(message("-chardev", value) == expected)
    }

    @Test func serial_wrongValues() {
        #expect(message("-serial", "null") == "-serial: unknown type 'null'")
        #expect(message("-serial", "stdio,id=x") == "-serial stdio: unknown parameter 'id'")
        #expect(message("-serial", "socket,port=1,server,nowait") == "-serial socket with port=: not supported yet")
        #expect(message("-initrd", "i", "-serial", "chardev:c") == "-serial: there is no -chardev with id 'c'")
        #expect(message("-serial", "chardev:") == "-serial: chardev: needs the id of a -chardev, of at most 255 bytes")
        #expect(message("-serial", "stdio", "-serial", "pty") == "-serial: given more than once")
        #expect(
            message("-serial", "chardev:c", "-chardev", "socket,id=c,port=1,server,nowait")
                == "-serial on a -chardev socket with port=: not supported yet")
    }

    @Test func chardevs_shareNeitherIdsNorStdio() {
        #expect(message("-chardev", "pty,id=c", "-chardev", "stdio,id=c") == "-chardev: id 'c' is used twice")
        let twice = "stdio can be used only once among -serial and -chardev"
        #expect(message("-chardev", "stdio,id=c", "-serial", "stdio") == twice)
        #expect(message("-chardev", "stdio,id=c", "stdio,id=d") == twice)
        #expect(message("-chardev", "stdio,id=c", "-serial", "chardev:c") == "accepted")
    }

    @Test func monitor_takesItsChardev() throws {
        let unix = try parse(["-mon", "chardev=c,mode=control,id=m", "-chardev", "socket,id=c,path=p,server,nowait", "-qmp", "unix:q,server,nowait"])
        #expect(unix.monitors == [.unix(path: "q"), .unix(path: "p")] && unix.chardevs.isEmpty)
        let tcp = try parse(["-mon", "c,mode=control", "-chardev", "socket,id=c,port=5,server,nowait"])
        #expect(tcp.monitors == [.tcp(host: "0.0.0.0", port: 5)])
    }

    @Test func monitor_wrongValues() {
        let chardev = "socket,id=c,path=p,server,nowait"
        #expect(message("-mon", "chardev=c") == "-mon: mode= is missing")
        #expect(message("-mon", "mode=control") == "-mon: chardev= is missing")
        #expect(message("-mon", "c,mode=readline") == "-mon: mode= must be control, not 'readline'")
        #expect(message("-mon", "d,mode=control", "-chardev", chardev) == "-mon: there is no -chardev with id 'd'")
        #expect(message("-mon", "c,mode=control", "-chardev", "pty,id=c") == "-mon: chardev 'c' is not a socket")
        #expect(message("-mon", "c,mode=control", "-serial", "chardev:c", "-chardev", chardev) == "-serial: chardev 'c' is used by -mon")
    }

    @Test func logAndState_areTaken() throws {
        let config = try parse(["-initrd", "i", "-D", "log", "-freeze", "-disable-seccomp", "-name", "n"])
        #expect(config.process.log == .file(path: "log") && config.startsPaused && config.isSeccompDisabled && config.name == "n")
    }
}
