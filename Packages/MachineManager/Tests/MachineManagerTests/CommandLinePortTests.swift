import Testing

@testable import MachineManager

private let serial = ["-device", "virtio-serial-device"]

/// The ports of a command line, by the names of their character devices.
private func ports(_ words: String...) throws -> [String: VmConfig.SerialPort] {
    var found: [String: VmConfig.SerialPort] = [:]
    for case .serialPort(let port) in try parse(words).devices { found[port.chardev] = port }
    return found
}

private func chardevs(_ count: Int) -> [String] {
    (0..<count).flatMap { ["-chardev", "pty,id=c\($0)"] }
}

@Suite struct CommandLinePortTests {
    @Test func console_andPort_keepWhatTheyAreGiven() throws {
        let found = try ports(
            "-device", "virtconsole,chardev=a,id=con,nr=0", "-device", "virtserialport,chardev=b,id=port,nr=30,name=org.qemu.guest_agent.0",
            "-device", "virtio-serial-device,id=s", "-chardev", "pty,id=a", "-chardev", "socket,id=b,path=p")
        #expect(found["a"] == VmConfig.SerialPort(id: "con", kind: .console, chardev: "a", number: 0))
        var expected = VmConfig.SerialPort(id: "port", kind: .generic, chardev: "b", number: 30)
        expected.name = "org.qemu.guest_agent.0"
        #expect(found["b"] == expected)
    }

    @Test func missingNumbers_areTheLowestThatAreFree() throws {
        let words = ["virtserialport,chardev=c0", "virtconsole,chardev=c1", "virtconsole,chardev=c2", "virtserialport,chardev=c3,nr=2"]
        let devices = words.flatMap { ["-device", $0] }
        var numbers: [String: UInt32] = [:]
        for case .serialPort(let port) in try parse(serial + chardevs(4) + devices).devices { numbers[port.id] = port.number }
        #expect(numbers == ["c0": 1, "c1": 0, "c2": 3, "c3": 2])
    }

    /// Port 0 is for a console.
    @Test func portWithNumberZero_getsAnother() throws {
        #expect(try ports("-device", "virtio-serial-device", "virtserialport,chardev=c,nr=0", "-chardev", "pty,id=c")["c"]?.number == 1)
    }

    @Test func maximumPorts_isKept() throws {
        for (value, expected) in [("", 31), (",max_ports=1", 1), (",max_ports=31", 31)] as [(String, UInt32)] {
            let config = try parse(["-initrd", "i", "-device", "virtio-serial-device,id=s" + value])
            var device = VmConfig.VirtioSerial(id: "s")
            device.maximumPorts = expected
            #expect(config.devices == [.virtioSerial(device)])
        }
    }

    @Test(arguments: [
        (["virtio-serial-device,max_ports=0"], "virtio-serial-device: max_ports= must be a number from 1 to 31, not '0'"),
        (["virtio-serial-device,max_ports=32"], "virtio-serial-device: max_ports= must be a number from 1 to 31, not '32'"),
        (["virtio-serial-device", "virtio-serial-device"], "virtio-serial-device: there can be only one"),
        (["virtio-serial-device,addr=1"], "virtio-serial-device: addr= is for PCI devices, which a microvm has none of"),
        (["virtconsole,chardev=c0"], "virtconsole: needs a -device virtio-serial-device"),
        (["virtio-serial-device", "virtconsole"], "virtconsole: chardev= is missing"),
        (["virtio-serial-device", "virtconsole,chardev=x"], "virtconsole: there is no -chardev with id 'x'"),
        (["virtio-serial-device", "virtconsole,chardev=c0,nr=31"], "virtconsole: nr= must be a number from 0 to 30, not '31'"),
        (["virtio-serial-device,max_ports=2", "virtserialport,chardev=c0,nr=2"], "virtserialport: nr= (2) must be below max_ports= (2)"),
        (["virtio-serial-device", "virtconsole,chardev=c0,nr=1", "virtserialport,chardev=c1,nr=1"], "virtserialport: nr= (1) is used twice"),
        (["virtio-serial-device,max_ports=1", "virtserialport,chardev=c0"], ": virtio-serial-device has no port left for 'c0'"),
        (
            ["virtio-serial-device,max_ports=1", "virtconsole,chardev=c0", "virtconsole,chardev=c1"],
            ": virtio-serial-device has no port left for 'c1'"
        ),
        (["virtio-serial-device", "virtconsole,chardev=c0", "virtconsole,chardev=c0"], "virtconsole: chardev 'c0' is used by two devices"),
        (["virtio-serial-device", "virtconsole,chardev=c0,name=" + String(repeating: "n", count: 256)], "virtconsole: name= is longer than 255 bytes"),
    ])
    func wrongValues(_ devices: [String], _ expected: String) {
        let words = chardevs(2) + devices.flatMap { ["-device", $0] }
        #expect(message(words) == (expected.hasPrefix(":") ? "-device" : "-device ") + expected)
    }

    @Test func allPorts_canBeUsed() throws {
        let words = serial + chardevs(31) + (0..<31).flatMap { ["-device", "virtconsole,chardev=c\($0)"] }
        let numbers = try parse(words).devices.compactMap { device -> UInt32? in
            if case .serialPort(let port) = device { port.number } else { nil }
        }
        #expect(numbers == Array(0..<31))
    }

    @Test func chardevs_haveOneUser() {
        let socket = ["-chardev", "socket,id=c,path=p,server,nowait"] + serial
        #expect(message(socket + ["-mon", "c,mode=control", "-device", "virtconsole,chardev=c"]) == "-device virtconsole: chardev 'c' is used by -mon")
        #expect(message(socket + ["-serial", "chardev:c", "-device", "virtconsole,chardev=c"]) == "-device virtconsole: chardev 'c' is used by -serial")
    }
}
