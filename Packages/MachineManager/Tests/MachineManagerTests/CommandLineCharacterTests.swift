import Testing

@testable import MachineManager

@Suite struct CommandLineCharacterTests {
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
        ("unix:/a,server,nowait,iothread=", "-qmp: iothread= needs a value"),
        ("unix:/a,server,nowait,x", "-qmp: unknown parameter 'x'"),
    ])
    func qmp_wrongAddresses(_ value: String, _ expected: String) {
        #expect(message("-qmp", value) == expected)
    }

    @Test(arguments: [
        ("stdio", .stdio), ("pty", .pty), ("file,path=/tmp/o", .file(path: "/tmp/o")),
        ("redirect-to-log", .redirectToLog),
        ("socket,path=/tmp/s,server,nowait", .socket(VmConfig.Chardev.Socket(address: .unix(path: "/tmp/s"), isServer: true))),
        ("socket,path=/tmp/s", .socket(VmConfig.Chardev.Socket(address: .unix(path: "/tmp/s"), isServer: false))),
        ("socket,path=/tmp/s,nowait", .socket(VmConfig.Chardev.Socket(address: .unix(path: "/tmp/s"), isServer: false))),
        ("socket,port=1,server=on,wait=off", .socket(VmConfig.Chardev.Socket(address: .tcp(host: "0.0.0.0", port: 1), isServer: true))),
        ("socket,host=1.2.3.4,port=65535", .socket(VmConfig.Chardev.Socket(address: .tcp(host: "1.2.3.4", port: 65535), isServer: false))),
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
        ("redirect-to-log,id=c,path=p", "-chardev redirect-to-log: unknown parameter 'path'"),
        ("stdio", "-chardev stdio: id= is missing"),
        ("stdio,id=c,path=p", "-chardev stdio: unknown parameter 'path'"),
        ("file,id=c", "-chardev file: path= is missing"),
        ("socket,id=c,server,nowait", "-chardev socket: path= or port= is missing"),
        ("socket,id=c,path=p,port=1,server,nowait", "-chardev socket: path= and port= exclude each other"),
        ("socket,id=c,path=p,host=1.2.3.4,server,nowait", "-chardev socket: host= goes with port=, not with path="),
        ("socket,id=c,port=1,host=here,server,nowait", "-chardev socket: host= must be an IPv4 address, not 'here'"),
        ("socket,id=c,port=0,server,nowait", "-chardev socket: port= must be a number from 1 to 65535, not '0'"),
        ("socket,id=c,port=65536", "-chardev socket: port= must be a number from 1 to 65535, not '65536'"),
        ("socket,id=c,path=p,wait=on", "-chardev socket wait=on: not supported yet"),
        ("stdio,id=" + String(repeating: "c", count: 256), "-chardev stdio: id= is longer than 255 bytes"),
        ("file,id=c,path=" + String(repeating: "p", count: 4096), "-chardev file: path= is longer than 4095 bytes"),
        ("socket,id=c,path=p,server", "-chardev socket: needs nowait"),
        ("socket,id=c,path=" + String(repeating: "p", count: 108) + ",server,nowait", "-chardev socket: path= is longer than 107 bytes"),
    ])
    func chardev_wrongValues(_ value: String, _ expected: String) {
        #expect(message("-chardev", value) == expected)
    }

    @Test func serial_wrongValues() {
        #expect(message("-serial", "null") == "-serial: unknown type 'null'")
        #expect(message("-serial", "stdio,id=x") == "-serial stdio: unknown parameter 'id'")
        #expect(message("-initrd", "i", "-serial", "chardev:c") == "-serial: there is no -chardev with id 'c'")
        #expect(message("-serial", "chardev:") == "-serial: chardev: needs the id of a -chardev, of at most 255 bytes")
        #expect(message("-serial", "stdio", "-serial", "pty") == "-serial: given more than once")
    }

    @Test func chardevs_shareNeitherIdsNorStdio() {
        #expect(message("-chardev", "pty,id=c", "-chardev", "stdio,id=c") == "-chardev stdio: id 'c' is used twice")
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
        #expect(message("-mon", "c,mode=control", "-chardev", "socket,id=c,path=p") == "-mon: chardev 'c' needs server and nowait")
        #expect(message("-mon", "c,mode=control,iothread=t", "-chardev", chardev) == "-mon: there is no -object iothread with id 't'")
        #expect(message("-mon", "c,mode=control", "-serial", "chardev:c", "-chardev", chardev) == "-serial: chardev 'c' is used by -mon")
    }

    @Test func monitor_iothread_mustExist() throws {
        let qmp = ["-initrd", "i", "-qmp", "unix:q,server,nowait,iothread=t"]
        #expect(message(qmp) == "-qmp: there is no -object iothread with id 't'")
        #expect(try parse(qmp + ["-object", "iothread,id=t"]).monitors == [.unix(path: "q")])
    }
}
