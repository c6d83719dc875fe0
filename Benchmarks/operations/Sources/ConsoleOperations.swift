import Devices
import Glibc
import LinuxSys
import Virtio

/// A console on a socket: the guest prints, and somebody types.
func consoleOperations() throws -> [Operation] {
    let machine = try GuestMachine()
    let path = "/tmp/operations-\(getpid())-console"
    let backend = try SocketBackend(listeningOn: .unix(path: path))
    let device = try VirtioConsole(ports: [ConsolePort(kind: .console, backend: backend)])
    let host = device.host
    let driver = try GuestDriver(machine, "console", device, without: ConsoleFeature.multiport, ringSize: 128)
    try host.start(on: machine.loop)
    let program = try Program(path)
    for _ in 0..<4 { machine.loop.runOnce(timeoutMilliseconds: 10) }
    try SysFile.remove(path)
    let data = machine.allocate(1 << 20)

    /// Somebody reads meanwhile.
    func output(_ name: String, _ count: UInt32) -> Operation {
        Operation("console", name) { rounds, measurement in
            try driver.rings[1].write([.readable(data, count)])
            let heads: [UInt16] = [0]
            try measurement.take {
                for _ in 0..<rounds {
                    var missing = Int(count)
                    try driver.transfer(1, heads: heads) { missing -= try program.take(missing) }
                    try program.read(missing, machine)
                }
            }
        }
    }
    func input(_ name: String, _ count: Int) -> Operation {
        Operation("console", name) { rounds, measurement in
            try driver.rings[0].write([.writable(data, 4096)])
            try measurement.take {
                for _ in 0..<rounds {
                    try driver.rings[0].offer(0)
                    driver.notify(0)
                    try program.write(count)
                    try driver.collect(0, 1)
                }
            }
        }
    }
    /// Into buffers of 4 KiB, of which the driver keeps four in the ring.
    func paste(_ name: String, _ count: UInt32) -> Operation {
        var offered = 0
        return Operation("console", name) { rounds, measurement in
            try driver.rings[0].write([.writable(data, 4096)])
            try measurement.take {
                for _ in 0..<rounds {
                    var missing = count
                    try program.write(Int(count))
                    try machine.turn {
                        while let entry = try driver.rings[0].take() {
                            missing -= entry.length
                            offered -= 1
                        }
                        if offered < 4 {
                            for _ in offered..<4 { try driver.rings[0].offer(0) }
                            offered = 4
                            driver.notify(0)
                        }
                        return missing == 0
                    }
                }
            }
        }
    }
    return [
        output("print 4 KiB", 4096), output("print 1 MiB, more than the socket takes", 1 << 20),
        input("type 1 byte", 1), paste("paste 64 KiB, more than is kept", 65536),
    ]
}

/// A program of the host at the other end of a socket.
final class Program {
    private let socket: OwnedFD
    private var bytes = [UInt8](repeating: 0x61, count: 1 << 16)

    init(_ path: String) throws {
        socket = try StreamSocket.connect(path: path)
        try socket.setNonBlocking(true)
    }

    func write(_ count: Int) throws {
        let sent = Glibc.send(socket.raw, bytes, count, Int32(MSG_NOSIGNAL))
        guard sent == count else { throw OperationError.call("send \(count), \(sent)", Errno(errno)) }
    }

    func write(_ text: String) throws { try socket.writeAll(Array(text.utf8)) }

    /// Takes what is there, at most `count` bytes; how many.
    func take(_ count: Int) throws -> Int {
        guard count > 0 else { return 0 }
        let taken = Glibc.recv(socket.raw, &bytes, min(count, bytes.count), 0)
        guard taken > 0 || (taken < 0 && errno == EAGAIN) else { throw OperationError.call("receive", Errno(errno)) }
        return max(0, taken)
    }

    /// Takes exactly `count` bytes, with the loop turning.
    func read(_ count: Int, _ machine: GuestMachine) throws {
        var missing = count
        while missing > 0 {
            let taken = try take(missing)
            missing -= taken
            if taken == 0 { machine.turn() }
        }
    }

    /// A line, with the loop turning.
    func line(_ machine: GuestMachine) throws -> String {
        var text = ""
        while !text.hasSuffix("\n") {
            try read(1, machine)
            text.unicodeScalars.append(Unicode.Scalar(bytes[0]))
        }
        return text
    }
}
