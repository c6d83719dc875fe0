import LinuxSys
import Testing

@testable import MachineManager

private func tap(_ value: String) throws -> (netdev: VmConfig.Netdev, tap: VmConfig.Netdev.Tap) {
    let netdev = try #require(try parse(["-initrd", "i", "-netdev", value]).netdevs.first)
    guard case .tap(let tap) = netdev.backend else { throw CommandLineError.conflict("no tap") }
    return (netdev, tap)
}

@Suite struct CommandLineNetworkTests {
    @Test func netdev_byName() throws {
        let (netdev, tap) = try tap("tap,id=n,ifname=tap0")
        #expect(netdev.id == "n" && netdev.queues == 1 && tap.interface == "tap0" && tap.path == nil)
        #expect(tap.descriptors.isEmpty && !tap.vhost && tap.vhostDescriptors.isEmpty)
        #expect(try MachineManagerTests.tap("tap,id=n,ifname=tap0,queues=16,macnat=off").netdev.queues == 16)
    }

    @Test func netdev_byDescriptors_hasAsManyQueuePairs() throws {
        let one = try tap("tap,id=n,fd=3")
        #expect(one.netdev.queues == 1 && one.tap.descriptors == [.number(3)])
        let two = try tap("tap,id=n,fds=3:4")
        #expect(two.netdev.queues == 2 && two.tap.descriptors == [.number(3), .number(4)])
        let vhost = try tap("tap,id=n,fds=3:4,queues=2,vhost=on,vhostfds=5:6")
        #expect(vhost.tap.vhost && vhost.tap.vhostDescriptors == [.number(5), .number(6)])
        #expect(try tap("tap,id=n,fd=3,vhost=on,vhostfd=2147483647").tap.vhostDescriptors == [.number(.max)])
    }

    @Test func netdev_nameWinsOverDescriptors() throws {
        let (netdev, tap) = try tap("tap,id=n,ifname=t,fds=3:4")
        #expect(netdev.queues == 1 && tap.interface == "t" && tap.descriptors.isEmpty)
    }

    @Test func netdev_byPath() throws {
        let found = try tap("tap,id=n,path=/dev/tap7").tap
        #expect(found.path == "/dev/tap7" && found.interface == nil)
        #expect(try tap("tap,id=n,path=/dev/tap7,ifname=m").tap.interface == "m")
    }

    @Test func vhostUserNetdev_connects_whateverItsChardevSays() throws {
        let share = ["-machine", "microvm,mem-share=on", "-chardev", "socket,id=c,path=p,server,nowait", "pty,id=d"]
        let config = try parse(share + ["-netdev", "vhost-user,id=n,chardev=c,queues=2", "-device", "virtio-net-device,netdev=n,mq=on"])
        #expect(config.netdevs == [VmConfig.Netdev(id: "n", queues: 2, backend: .vhostUser(chardev: "c"))])
        let socket = VmConfig.Chardev.Socket(address: .unix(path: "p"), isServer: false)
        #expect(config.chardevs.first == VmConfig.Chardev(id: "c", backend: .socket(socket)))
        #expect(config.unusedParts(on: .x86_64) == ["-chardev: nothing uses 'd'"])
        let netdev = ["-netdev", "vhost-user,id=n,chardev=c"]
        #expect(message(share.dropFirst(2) + netdev) == "-netdev vhost-user: needs -machine mem-share=on")
        #expect(message(share + ["-netdev", "vhost-user,id=n,chardev=d"]) == "-netdev vhost-user: chardev 'd' must be a socket with path=")
        #expect(message(share + ["-netdev", "vhost-user,id=n,chardev=x"]) == "-netdev vhost-user: there is no -chardev with id 'x'")
        #expect(message(share + netdev + ["-netdev", "vhost-user,id=m,chardev=c"]) == "-netdev vhost-user: chardev 'c' is used by two devices")
        #expect(message(share + netdev + ["-device", "vhost-user-blk-device,chardev=c"]) == "-device vhost-user-blk-device: chardev 'c' is used by two devices")
    }

    @Test(arguments: [
        ("", "-netdev: needs a type"),
        ("bridge,id=n", "-netdev: unknown type 'bridge'"),
        ("vhost-user,id=n", "-netdev vhost-user: chardev= is missing"),
        ("vhost-user,chardev=c", "-netdev vhost-user: id= is missing"),
        ("vhost-user,id=n,chardev=c,queues=17", "-netdev vhost-user: queues= must be a number from 1 to 16, not '17'"),
        ("vhost-user,id=n,chardev=c,vhost=on", "-netdev vhost-user: unknown parameter 'vhost'"),
        ("tap,ifname=t", "-netdev tap: id= is missing"),
        ("tap,id=n", "-netdev tap: ifname=, fd=, fds= or path= is missing"),
        ("tap,id=n,ifname=abcdefghijklmnop", "-netdev tap: ifname= must be the name of a network interface, of at most 15 bytes, not 'abcdefghijklmnop'"),
        ("tap,id=n,ifname=a/b", "-netdev tap: ifname= must be the name of a network interface, of at most 15 bytes, not 'a/b'"),
        ("tap,id=n,ifname=..", "-netdev tap: ifname= must be the name of a network interface, of at most 15 bytes, not '..'"),
        ("tap,id=n,ifname=a b", "-netdev tap: ifname= must be the name of a network interface, of at most 15 bytes, not 'a b'"),
        ("tap,id=n,path=a,fds=3", "-netdev tap: path= and fds= exclude each other"),
        ("tap,id=n,fd=3,fds=4:5", "-netdev tap: fd= and fds= exclude each other"),
        ("tap,id=n,fd=2", "-netdev tap: fd= must be the number of an open descriptor, at least 3, not '2'"),
        ("tap,id=n,fd=2147483648", "-netdev tap: fd= must be the number of an open descriptor, at least 3, not '2147483648'"),
        ("tap,id=n,fd=name", "-netdev tap: fd= must be the number of an open descriptor, at least 3, not 'name'"),
        ("tap,id=n,fd=3:4", "-netdev tap: fd= must be the number of an open descriptor, at least 3, not '3:4'"),
        ("tap,id=n,fds=3:", "-netdev tap: fds= must be the number of an open descriptor, at least 3, not ''"),
        ("tap,id=n,fds=3:3", "-netdev tap: fds= has '3' twice"),
        ("tap,id=n,fds=3:4:5:6:7:8:9:10:11:12:13:14:15:16:17:18:19", "-netdev tap: fds= has more than 16 descriptors"),
        ("tap,id=n,fds=3:4,queues=3", "-netdev tap: queues= is 3, but descriptors are given for 2"),
        ("tap,id=n,ifname=t,queues=17", "-netdev tap: queues= must be a number from 1 to 16, not '17'"),
        ("tap,id=n,ifname=t,queues=0", "-netdev tap: queues= must be a number from 1 to 16, not '0'"),
        ("tap,id=n,ifname=t,vhostfd=5", "-netdev tap: vhostfd= needs vhost=on"),
        ("tap,id=n,ifname=t,vhost=off,vhostfds=5:6", "-netdev tap: vhostfds= needs vhost=on"),
        ("tap,id=n,ifname=t,vhost=on,vhostfds=5:6", "-netdev tap: the number of vhost descriptors (2) must be that of queue pairs (1)"),
        ("tap,id=n,ifname=t,vhost=on,vhostfd=5,vhostfds=6", "-netdev tap: vhostfd= and vhostfds= exclude each other"),
        ("tap,id=n,ifname=t,macnat=on", "-netdev tap macnat=on: not supported yet"),
        ("tap,id=n,ifname=t,chardev=c", "-netdev tap: unknown parameter 'chardev'"),
        ("tap,id=" + String(repeating: "n", count: 256) + ",ifname=t", "-netdev tap: id= is longer than 255 bytes"),
        ("tap,id=n,path=" + String(repeating: "p", count: 4096), "-netdev tap: path= is longer than 4095 bytes"),
    ])
    func netdev_wrongValues(_ value: String, _ expected: String) {
        #expect(message("-netdev", value) == expected)
    }

    @Test func descriptors_haveOneOwner() {
        let words = ["-initrd", "i", "-netdev", "tap,id=a,fd=3", "-netdev"]
        #expect(message(words + ["tap,id=b,fd=3"]) == "-netdev b: descriptor 3 is given twice")
        #expect(message(words + ["tap,id=b,fd=4,vhost=on,vhostfd=3"]) == "-netdev b: descriptor 3 is given twice")
        #expect(message(words + ["tap,id=b,fd=4", "-device", "vhost-vsock-device,guest-cid=3,vhostfd=4"]) == "-device vhost-vsock-device: descriptor 4 is given twice")
        #expect(message(words + ["tap,id=a,fd=4"]) == "-netdev tap: id 'a' is used twice")
    }

    @Test func device_defaults() throws {
        let config = try parse(["-initrd", "i", "-device", "virtio-net-device,netdev=n", "-netdev", "tap,id=n,fd=3"])
        #expect(config.devices == [.virtioNet(VmConfig.VirtioNet(netdev: "n"))])
        guard case .virtioNet(let device)? = config.devices.first else { return }
        #expect(device.id == "n" && device.mac == nil && device.queueSize == 256 && !device.isMultiQueue)
    }

    @Test func device_everyParameter() throws {
        let config = try parse([
            "-initrd", "i", "-netdev", "tap,id=n,fds=3:4", "-object", "iothread,id=t", "iothread,id=r", "iothread,id=s", "-device",
            "virtio-net-device,id=x,netdev=n,mac=52:54:00:AB:cd:01,mq=on,queue-size=4096,iothread=t,rx-iothread=r,tx-iothread=s,vectors=6",
        ])
        var expected = VmConfig.VirtioNet(id: "x", netdev: "n")
        expected.mac = MACAddress(0x52, 0x54, 0, 0xab, 0xcd, 1)
        expected.isMultiQueue = true
        expected.queueSize = 4096
        expected.iothread = "t"
        expected.rxIOThread = "r"
        expected.txIOThread = "s"
        #expect(config.devices == [.virtioNet(expected)])
    }

    @Test(arguments: [
        ("", "netdev= is missing"),
        (",netdev=m", "there is no -netdev with id 'm'"),
        (",netdev=n,mac=52:54:00:12:34", "mac= must be an address such as 52:54:00:12:34:56, not '52:54:00:12:34'"),
        (",netdev=n,mac=01:00:5e:00:00:01", "mac= must be a unicast address and not all zeroes, not '01:00:5e:00:00:01'"),
        (",netdev=n,mac=00:00:00:00:00:00", "mac= must be a unicast address and not all zeroes, not '00:00:00:00:00:00'"),
        (",netdev=n,queue-size=128", "queue-size= must be a power of two from 256 to 4096, not '128'"),
        (",netdev=n,queue-size=300", "queue-size= must be a power of two from 256 to 4096, not '300'"),
        (",netdev=n,queue-size=8192", "queue-size= must be a power of two from 256 to 4096, not '8192'"),
        (",netdev=n,mq=2", "mq= must be on or off, not '2'"),
        (",netdev=n,iothread=t", "there is no -object iothread with id 't'"),
        (",netdev=n,rx-iothread=t", "there is no -object iothread with id 't'"),
        (",netdev=n,tx-iothread=t", "there is no -object iothread with id 't'"),
        (",netdev=n,addr=0x1", "addr= is for PCI devices, which a microvm has none of"),
        (",netdev=n,multifunction=on", "multifunction= is for PCI devices, which a microvm has none of"),
        (",netdev=n,speed=10", "unknown parameter 'speed'"),
    ])
    func device_wrongValues(_ value: String, _ expected: String) {
        #expect(
            message("-initrd", "i", "-netdev", "tap,id=n,fd=3", "-device", "virtio-net-device" + value)
                == "-device virtio-net-device: " + expected)
    }

    @Test func devices_shareNeitherNetdevsNorAddresses() {
        let words = ["-initrd", "i", "-netdev", "tap,id=a,fd=3", "tap,id=b,fd=4", "-device"]
        #expect(
            message(words + ["virtio-net-device,netdev=a", "virtio-net-device,netdev=a,id=x"])
                == "-device virtio-net-device: netdev 'a' is used by two devices")
        let mac = ",mac=52:54:00:12:34:56"
        #expect(
            message(words + ["virtio-net-device,netdev=a" + mac, "virtio-net-device,netdev=b" + mac])
                == "-device virtio-net-device: mac 52:54:00:12:34:56 is used by two devices")
    }
}
