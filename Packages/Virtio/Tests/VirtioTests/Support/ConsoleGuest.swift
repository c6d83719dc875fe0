import Devices
import LinuxSys
import Testing
@testable import Virtio

/// A guest with a console device, and its host.
final class ConsoleGuest {
    /// Where the control messages go: one buffer of 64 bytes a head.
    static let messages: UInt64 = QueueGuest.data + 0x10_0000

    let guest: QueueGuest
    let host: ConsoleHost
    let loop: EventLoop

    init(_ ports: [ConsolePort], maximumPorts: Int = 31) throws {
        let device = try VirtioConsole(ports: ports, maximumPorts: maximumPorts)
        let host = device.host
        self.host = host
        guest = try QueueGuest(device)
        loop = try EventLoop()
        try host.start(on: loop)
    }

    /// A console at 0 and a port named "agent" at 1.
    static func usual(_ console: FakeChar = FakeChar(), _ agent: FakeChar = FakeChar(isConnected: false)) throws -> ConsoleGuest {
        try ConsoleGuest([ConsolePort(kind: .console, backend: console), ConsolePort(kind: .generic, name: "agent", backend: agent)])
    }

    func send(_ port: UInt32, _ event: UInt16, _ value: UInt16) throws {
        var message: [UInt8] = []
        for shift in stride(from: 0, to: 32, by: 8) { message.append(UInt8(truncatingIfNeeded: port >> shift)) }
        for field in [event, value] { message += [UInt8(truncatingIfNeeded: field), UInt8(truncatingIfNeeded: field >> 8)] }
        try send(message)
    }

    func send(_ message: [UInt8]) throws {
        try guest.fill(QueueGuest.data + 0x20_0000, message)
        try guest.offer(3, [.readable(QueueGuest.data + 0x20_0000, UInt32(message.count))])
        guest.kick(3)
    }

    /// Gives the device `count` more buffers for messages.
    func giveMessageBuffers(_ count: Int) throws {
        for _ in 0..<count {
            let head = guest.rings[2].availableIndex % guest.rings[2].size
            try guest.offer(2, head: head, [.writable(Self.messages + UInt64(head) * 64, 64)])
        }
        guest.kick(2)
    }

    /// New messages from the device, as text: "port event value name".
    func received() throws -> [String] {
        guest.serve()
        return try guest.newUsed(2).map { entry in
            let bytes = try guest.bytes(Self.messages + UInt64(entry.id) * 64, Int(entry.length))
            guard bytes.count >= 8 else { return "short" }
            let port = bytes[..<4].reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            let event = UInt16(bytes[4]) | UInt16(bytes[5]) << 8
            let value = UInt16(bytes[6]) | UInt16(bytes[7]) << 8
            return "\(port) \(event) \(value)" + (bytes.count > 8 ? " " + String(decoding: bytes[8...], as: UTF8.self) : "")
        }
    }

    /// What Linux does at probe: buffers, DEVICE_READY, PORT_READY of each port, then it opens all.
    func open(_ ports: [UInt32] = [0, 1]) throws {
        try guest.start()
        try giveMessageBuffers(16)
        try send(0, 0, 1)
        for port in ports { try send(port, 3, 1) }
        for port in ports { try send(port, 6, 1) }
        let count = try received().count
        try giveMessageBuffers(count)
    }

    /// Writes to a port's transmit queue in buffers of the given sizes; used entries come later.
    func output(_ queue: Int, _ bytes: [UInt8], pieces: [UInt32]? = nil) throws {
        try guest.fill(QueueGuest.data, bytes)
        var buffers: [Buffer] = []
        var address = QueueGuest.data
        for piece in pieces ?? [UInt32(bytes.count)] {
            buffers.append(.readable(address, piece))
            address += UInt64(piece)
        }
        try guest.offer(queue, buffers)
        guest.kick(queue)
    }

    func giveInputBuffer(_ queue: Int, _ length: UInt32, at offset: UInt64 = 0x8_0000) throws {
        let head = guest.rings[queue].availableIndex % guest.rings[queue].size
        try guest.offer(queue, head: head, [.writable(QueueGuest.data + offset, length)])
        guest.kick(queue)
    }

    /// The newest bytes that came into the buffers at `offset`.
    func input(_ queue: Int, at offset: UInt64 = 0x8_0000) throws -> [[UInt8]] {
        guest.serve()
        return try guest.newUsed(queue).map { try guest.bytes(QueueGuest.data + offset, Int($0.length)) }
    }
}
