import AddressSpace
import Glibc
import LinuxSys
import Virtio

/// Data of a socket between the guest and a program of the host, each way.
func vsockOperations() throws -> [Operation] {
    let socket = try GuestSocket()
    return [
        try socket.send("send 4 KiB", 4096), try socket.send("send 4 KiB in a table", 4096, isIndirect: true), try socket.receive("receive 4 KiB", 4096),
    ]
}

/// A stream socket in the guest (virtio 1.2, section 5.10).
private final class GuestSocket {
    typealias Buffer = GuestRing.Buffer
    private enum Call: UInt16 { case response = 2, data = 5, creditUpdate = 6 }
    private static let cid: UInt64 = 3
    private static let headerSize: UInt32 = 44
    private static let credit: UInt32 = 1 << 20
    private static let port: UInt32 = 52
    private static let slot: UInt64 = 8192

    private let machine: GuestMachine
    private let driver: GuestDriver
    private let program: Program
    private let header: UInt64
    private let inbox: UInt64
    private let table: UInt64
    private var hostPort: UInt32 = 0
    /// Bytes that have come so far.
    private var received: UInt32 = 0

    init() throws {
        let path = "/tmp/operations-\(getpid())-vsock"
        machine = try GuestMachine()
        driver = try GuestDriver(machine, "vsock", try VirtioVsock.listen(guestCID: Self.cid, path: path))
        header = machine.allocate(1 << 16)
        inbox = machine.allocate(64 * Self.slot)
        table = machine.allocate(4096)
        for head in 0..<64 as Range<UInt16> {
            try driver.rings[0].write([.writable(inbox + UInt64(head) * Self.slot, UInt32(Self.slot))], first: head)
            try driver.rings[0].offer(head)
        }
        driver.notify(0)
        program = try Program(path)
        try SysFile.remove(path)
        try program.write("CONNECT \(Self.port)\n")
        // The host's request, whose port is the connection's.
        try machine.turn { try take() }
        try say(.response, 0)
        _ = try program.line(machine)
    }

    /// A packet's header, as virtio 1.2, section 5.10.6, has it.
    private func write(_ call: Call, _ length: UInt32) throws {
        let memory = machine.memory
        try memory.store(Self.cid, at: header)
        try memory.store(2 as UInt64, at: header + 8)
        try memory.store(Self.port, at: header + 16)
        try memory.store(hostPort, at: header + 20)
        try memory.store(length, at: header + 24)
        try memory.store(1 as UInt16, at: header + 28)
        try memory.store(call.rawValue, at: header + 30)
        try memory.store(0 as UInt32, at: header + 32)
        try memory.store(Self.credit, at: header + 36)
        try memory.store(received, at: header + 40)
    }

    private static let heads: [UInt16] = [0]
    private func say(_ call: Call, _ length: UInt32) throws {
        try write(call, length)
        try driver.rings[1].write([.readable(header, Self.headerSize)])
        try driver.transfer(1, heads: Self.heads)
    }

    /// Takes what has come, and gives the buffers back; true when something had.
    private func take() throws -> Bool {
        var isNew = false
        while let (head, length) = try driver.rings[0].take() {
            let place = inbox + UInt64(head) * Self.slot
            hostPort = try machine.memory.load(UInt32.self, at: place + 16)
            received &+= length &- Self.headerSize
            try driver.rings[0].offer(head)
            isNew = true
        }
        if isNew { driver.notify(0) }
        return isNew
    }

    func send(_ name: String, _ length: UInt32, isIndirect: Bool = false) throws -> Operation {
        Operation("vsock", name) { [self] rounds, measurement in
            try write(.data, length)
            let chain: [Buffer] = [.readable(header, Self.headerSize), .readable(header + 4096, length)]
            if isIndirect { try driver.rings[1].write(chain, table: table) }
            try driver.rings[1].write(isIndirect ? [.indirect(table, 2)] : chain)
            try measurement.take {
                for _ in 0..<rounds {
                    try driver.transfer(1, heads: Self.heads)
                    try program.read(Int(length), machine)
                    // The host's credit comes in packets of its own.
                    _ = try take()
                }
            }
        }
    }

    /// With the guest's answer, which is that it has room again.
    func receive(_ name: String, _ length: Int) throws -> Operation {
        Operation("vsock", name) { [self] rounds, measurement in
            try driver.rings[1].write([.readable(header, Self.headerSize)])
            try measurement.take {
                for _ in 0..<rounds {
                    let wanted = received &+ UInt32(length)
                    try program.write(length)
                    try machine.turn {
                        _ = try take()
                        return received == wanted
                    }
                    try write(.creditUpdate, 0)
                    try driver.transfer(1, heads: Self.heads)
                }
            }
        }
    }
}
