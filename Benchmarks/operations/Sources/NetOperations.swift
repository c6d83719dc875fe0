import AddressSpace
import COperations
import Glibc
import LinuxSys
import Virtio

/// Packets from the guest to the host and back, through a tap and through a stream.
func netOperations() throws -> [Operation] {
    try NetCard(TapWire()).operations() + NetCard(StreamWire()).operations()
}

/// What a network device is connected to, and who is at its other end. `frames` of `size` bytes each.
private protocol Wire: AnyObject {
    var name: String { get }
    func connect(_ loop: EventLoop) throws -> NetBackend
    /// Sends so many frames to the guest.
    func send(_ frames: Int, size: Int) throws
    /// Takes what the guest has sent so far, at most `bytes` with 4 for each frame; how many it took.
    func take(_ bytes: Int) throws -> Int
}

/// Bytes outside of guest memory, kept.
private final class HostBuffer {
    let bytes: UnsafeMutableRawBufferPointer

    init(_ count: Int) {
        bytes = .allocate(byteCount: count, alignment: 16)
        bytes.initializeMemory(as: UInt8.self, repeating: 0)
    }

    deinit { bytes.deallocate() }

    /// A frame from `place` on: to everybody, of a kind that nobody knows (IEEE 802 local experimental).
    func putFrame(at place: Int) {
        for index in 0..<6 { bytes[place + index] = 0xff }
        for (index, byte) in [0x52, 0x54, 0, 1, 2, 3, 0x88, 0xb5].enumerated() { bytes[place + 6 + index] = UInt8(byte) }
    }
}

private final class TapWire: Wire {
    let name = "tap"
    private let interface = "ops\(getpid())"
    private let frame = HostBuffer(65536)
    private var socket: OwnedFD?

    func connect(_ loop: EventLoop) throws -> NetBackend {
        let backend = try NetBackend.openTap(TapOptions(netdev: "net", name: interface))
        let wire = wire_open(interface)
        guard wire >= 0 else { throw OperationError.call("packet socket", Errno(Int32(-wire))) }
        socket = OwnedFD(adopting: Int32(wire))
        frame.putFrame(at: 0)
        return backend
    }

    func send(_ frames: Int, size: Int) throws {
        guard let descriptor = socket?.raw else { return }
        for _ in 0..<frames where write(descriptor, frame.bytes.baseAddress, size) != size { throw OperationError.call("send", Errno(errno)) }
    }

    /// The kernel has all of them as soon as the tap was written to.
    func take(_ bytes: Int) -> Int { bytes }
}

private final class StreamWire: Wire {
    let name = "stream"
    private let buffer = HostBuffer(1 << 20)
    private var socket: OwnedFD?
    /// Of a frame in `buffer`, and what of the frames has gone, or come, so far.
    private var prepared = 0

    func connect(_ loop: EventLoop) throws -> NetBackend {
        var ends: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0, &ends) == 0 else {
            throw OperationError.call("socketpair", Errno(errno))
        }
        socket = OwnedFD(adopting: ends[0])
        return try NetBackend.openStream(StreamOptions(netdev: "net", address: .descriptor(ends[1])), loop: loop) { _ in }
    }

    func send(_ frames: Int, size: Int) throws {
        guard let descriptor = socket?.raw else { return }
        let step = size + 4, total = frames * step
        if prepared != size {
            prepared = size
            for place in stride(from: 0, to: buffer.bytes.count - step, by: step) {
                buffer.bytes.storeBytes(of: UInt32(size).bigEndian, toByteOffset: place, as: UInt32.self)
                buffer.putFrame(at: place + 4)
            }
        }
        guard total <= buffer.bytes.count, write(descriptor, buffer.bytes.baseAddress, total) == total else {
            throw OperationError.call("send \(total)", Errno(errno))
        }
    }

    func take(_ bytes: Int) throws -> Int {
        guard let descriptor = socket?.raw, bytes > 0 else { return 0 }
        prepared = 0
        let count = read(descriptor, buffer.bytes.baseAddress, min(bytes, buffer.bytes.count))
        guard count > 0 || (count < 0 && errno == EAGAIN) else { throw OperationError.call("receive", Errno(errno)) }
        return max(0, count)
    }
}

private final class NetCard {
    typealias Buffer = GuestRing.Buffer
    private static let header: UInt32 = 12

    private let wire: any Wire
    private let machine: GuestMachine
    private let driver: GuestDriver
    private let data: UInt64
    private let table: UInt64

    init(_ wire: any Wire) throws {
        self.wire = wire
        machine = try GuestMachine()
        let backend = try wire.connect(machine.loop)
        let device = VirtioNet(options: NetOptions(mac: MACAddress(bits: 0x5254_0012_3456)), backend: backend, loops: NetLoops(rx: machine.loop, tx: machine.loop))
        driver = try GuestDriver(machine, "net", device)
        data = machine.allocate(1 << 20)
        table = machine.allocate(4096)
        // The receive ring is full of buffers of 2 KiB.
        for head in 0..<driver.rings[0].size {
            try driver.rings[0].write([.writable(data + 4096 * UInt64(head % 128), 2048)], first: head)
            try driver.rings[0].offer(head)
        }
        driver.notify(0)
        // The frame behind an empty virtio-net header.
        for (index, byte) in ([UInt8](repeating: 0xff, count: 6) + [0x52, 0x54, 0, 1, 2, 3, 0x88, 0xb5]).enumerated() {
            try machine.memory.store(byte, at: data + UInt64(Self.header) + UInt64(index))
        }
    }

    func operations() throws -> [Operation] {
        let all = Self.header + 1500
        let pieces: [Buffer] = [.readable(data, Self.header), .readable(data + 12, 14), .readable(data + 26, 1486)]
        let both = [
            transmit("send 1500 bytes", [.readable(data, all)]), transmit("send 1500 bytes, 32 at once", [.readable(data, all)], count: 32),
            transmit("send 1500 bytes in 3 pieces, in a table", pieces, isIndirect: true),
            receive("receive 1500 bytes", 1500), receive("receive 1500 bytes, 32 at once", 1500, count: 32),
        ]
        // A tap takes them all at once, and none as large.
        guard wire is StreamWire else { return both }
        return both + [
            transmit("send 1500 bytes, 200 at once: more than the wire takes", [.readable(data, all)], count: 200),
            receive("receive 60000 bytes, in 30 buffers", 60_000),
        ]
    }

    /// Somebody reads at the other end meanwhile.
    private func transmit(_ name: String, _ buffers: [Buffer], count: Int = 1, isIndirect: Bool = false) -> Operation {
        let (driver, wire, table, total) = (driver, wire, table, count * 1504)
        let heads = [UInt16](repeating: 0, count: count)
        return Operation("network, \(wire.name)", name, perRound: count) { rounds, measurement in
            if isIndirect { try driver.rings[1].write(buffers, table: table) }
            try driver.rings[1].write(isIndirect ? [.indirect(table, buffers.count)] : buffers)
            try measurement.take {
                for _ in 0..<rounds {
                    var missing = total
                    try driver.transfer(1, heads: heads) { missing -= try wire.take(missing) }
                    while missing > 0 {
                        missing -= try wire.take(missing)
                        if missing > 0 { driver.machine.turn() }
                    }
                }
            }
        }
    }

    private func receive(_ name: String, _ size: Int, count: Int = 1) -> Operation {
        Operation("network, \(wire.name)", name, perRound: count) { [self] rounds, measurement in
            try measurement.take {
                for _ in 0..<rounds {
                    try wire.send(count, size: size)
                    try collect(count * (size + Int(Self.header)))
                }
            }
        }
    }

    /// Takes chains with so many bytes from the device, and gives them back to it.
    private func collect(_ bytes: Int) throws {
        let ring = driver.rings[0]
        var missing = bytes
        try machine.turn {
            var isRenewed = false
            while missing > 0, let entry = try ring.take() {
                missing -= Int(entry.length)
                try ring.offer(entry.head)
                isRenewed = true
            }
            if isRenewed { driver.notify(0) }
            return missing <= 0
        }
    }
}
