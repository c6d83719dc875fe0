import AddressSpace
import Devices
import Glibc
import HypervisorTesting
import LinuxSys
import Synchronization
@testable import Virtio

/// The far end of a back end: what the host's network would see. Sockets play the tap, one packet a message, header first; or they are streams, whose frames have
/// lengths and no headers, which are added here so that tests need not know.
final class Wire: Sendable {
    enum Kind: CaseIterable, Sendable { case tap, stream }

    let kind: Kind
    let far: OwnedFD
    /// Frames of a stream that have come in part.
    private let received = Mutex<[UInt8]>([])
    /// Frames for a stream that have gone in part.
    private let unfinished = Mutex<[UInt8]>([])
    private let link: Mutex<StreamLink?>
    private let near: Mutex<TapQueue?>
    /// Until `giveAway`.
    var queue: TapQueue { near.withLock { $0! } }
    /// The near end has no owner but the device.
    func giveAway() {
        near.withLock { $0 = nil }
        link.withLock { $0 = nil }
    }

    init(_ kind: Kind = .tap, sendBuffer: Int32? = nil) throws {
        self.kind = kind
        let (far, near) = try Self.ends(kind == .tap ? SOCK_SEQPACKET : SOCK_STREAM, sendBuffer: sendBuffer)
        self.far = OwnedFD(adopting: far)
        if kind == .tap {
            self.near = Mutex(try TapQueue(OwnedFD(adopting: near)))
            link = Mutex(nil)
        } else {
            self.near = Mutex(nil)
            // On a loop that nobody runs: the end of the connection goes unnoticed.
            let link = StreamLink(StreamOptions(netdev: "net0", address: .descriptor(near)), loop: try EventLoop(), changed: { _ in })
            try link.open()
            self.link = Mutex(link)
        }
    }

    /// Two ends of a socket, non-blocking. `sendBuffer` is the second one's.
    static func ends(_ type: __socket_type, sendBuffer: Int32? = nil) throws -> (far: Int32, near: Int32) {
        var ends: [Int32] = [-1, -1]
        let kind = Int32(type.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, kind, 0, &ends) == 0 else { throw Errno(errno) }
        if var size = sendBuffer { setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &size, 4) }
        return (ends[0], ends[1])
    }

    var streamBackend: NetBackend? { link.withLock { $0.map { NetBackend(name: "net0", .stream($0)) } } }

    /// False when the tap's queue is full.
    @discardableResult
    func send(_ frame: [UInt8], header: [UInt8] = [UInt8](repeating: 0, count: 12)) -> Bool {
        guard kind == .stream else { return put(header + frame) == header.count + frame.count }
        flush()
        return unfinished.withLock { rest in
            guard rest.isEmpty else { return false }
            let bytes = Self.framed(frame)
            let sent = put(bytes)
            if sent > 0 { rest = Array(bytes[sent...]) }
            return sent > 0
        }
    }

    static func framed(_ frame: [UInt8]) -> [UInt8] {
        let count = UInt32(frame.count)
        return (0..<4).map { UInt8(truncatingIfNeeded: count >> UInt32(24 - 8 * $0)) } + frame
    }

    /// What the socket took.
    @discardableResult
    func put(_ bytes: [UInt8]) -> Int { write(far.raw, bytes, bytes.count) }

    /// Sends what is left of frames that have been sent in part.
    func flush() {
        unfinished.withLock { rest in
            let sent = rest.isEmpty ? 0 : put(rest)
            if sent > 0 { rest.removeFirst(sent) }
        }
    }

    /// All descriptors of the near end are closed, within ten seconds: a program that another test starts has them all until its exec.
    var isClosed: Bool {
        var byte: UInt8 = 0
        var patience = 10_000
        while patience > 0 {
            let count = read(far.raw, &byte, 1)
            if count == 0 { return true }
            if count > 0 { continue }
            guard errno == EAGAIN else { return errno == ECONNRESET }
            usleep(1000)
            patience -= 1
        }
        return false
    }

    /// The next packet that the guest sent, with its header.
    func receive() -> [UInt8]? {
        if kind == .stream { return frame().map { [UInt8](repeating: 0, count: 12) + $0 } }
        var bytes = [UInt8](repeating: 0, count: 70000)
        let count = read(far.raw, &bytes, bytes.count)
        return count > 0 ? Array(bytes[..<count]) : nil
    }
}

extension Wire {
    /// The next whole frame.
    private func frame() -> [UInt8]? {
        var piece = [UInt8](repeating: 0, count: 70000)
        return received.withLock { bytes in
            while true {
                if bytes.count >= 4 {
                    let length = bytes[..<4].reduce(0) { $0 << 8 | Int($1) }
                    if bytes.count >= 4 + length {
                        defer { bytes.removeFirst(4 + length) }
                        return Array(bytes[4..<4 + length])
                    }
                }
                let count = read(far.raw, &piece, piece.count)
                guard count > 0 else { return nil }
                bytes += piece[..<count]
            }
        }
    }
}

enum Frame {
    static let own = MACAddress(bits: 0x5254_0012_3456)
    static let other = MACAddress(bits: 0x5254_0012_9999)
    static let multicast = MACAddress(bits: 0x0100_5e00_0001)

    /// `count` bytes in all, of a pattern that says where they are.
    static func make(_ count: Int = 60, to: MACAddress = own, vlan: UInt16? = nil, seed: UInt8 = 0) -> [UInt8] {
        var bytes = (0..<6).map { to[$0] } + [0x52, 0x54, 0, 1, 2, 3]
        if let vlan { bytes += [0x81, 0x00, UInt8(vlan >> 8), UInt8(vlan & 0xff)] }
        bytes += [0x88, 0xb5]
        while bytes.count < count { bytes.append(UInt8(truncatingIfNeeded: bytes.count &* 7 &+ Int(seed))) }
        return Array(bytes.prefix(max(count, 14)))
    }
}

/// A guest with a network device: a driver as good or as bad as the test wants. Everything runs on the test's thread.
final class NetGuest: Driver {
    static let ramSize: UInt64 = 16 << 20
    static let status: UInt64 = 0xf000
    static let command: UInt64 = 0xe000
    static let header: UInt64 = 0xd000
    static let table: UInt64 = 0x8000
    static let data: UInt64 = 0x40_0000

    struct Ring {
        var size: UInt16 = 256
        var available: UInt16 = 0
        var seen: UInt16 = 0
    }

    let space: AddressSpace
    let line: TestInterruptLine
    let loop: EventLoop
    let transport: VirtioMMIODevice
    let pairs: Int
    var rings: [Ring]

    init(
        _ wires: [Wire] = [], pairs: Int = 1, multiqueue: Bool = false, hasUFO: Bool = false, queueSize: UInt16 = 256, vhost: [VhostNet] = [], hasEvent: Bool = false,
        loop: EventLoop? = nil, backend: NetBackend? = nil, loops: NetLoops? = nil, isAttached: Bool = false
    ) throws {
        space = AddressSpace(name: "memory", size: 1 << 40)
        try space.root.add(try Region.ram(name: "ram", size: Self.ramSize, memory: try HostMemory.anonymous(size: Self.ramSize)), at: 0)
        self.loop = try loop ?? EventLoop()
        let loop = self.loop
        line = TestInterruptLine(gsi: 5, hasEvent: hasEvent)
        self.pairs = pairs
        let options = NetOptions(mac: Frame.own, queuePairs: pairs, queueSize: queueSize, offersMultiqueue: multiqueue)
        let device = VirtioNet(
            options: options, backend: backend ?? Self.backend(wires, hasUFO: hasUFO, vhost: vhost), loops: loops ?? NetLoops(rx: loop, tx: loop))
        if isAttached {
            // Watched by the loop, as in a machine.
            let ports = AddressSpace(name: "ports", size: 1 << 16)
            let bus = SysBus(memory: space.root, ports: ports.root, machine: TestVirtualMachine())
            transport = try VirtioMMIODevice.attach(device, name: "net", to: bus, memory: space.memory, loop: loop)
        } else {
            transport = try VirtioMMIODevice(name: "net", device: device, memory: space.memory, line: line)
        }
        rings = [Ring](repeating: Ring(), count: 2 * pairs + 1)
    }

    static func backend(_ wires: [Wire], hasUFO: Bool = false, vhost: [VhostNet] = []) -> NetBackend? {
        if let wire = wires.first, wire.kind == .stream { return wire.streamBackend }
        return wires.isEmpty ? nil : NetBackend(name: "net0", interface: "wire", queues: wires.map(\.queue), hasUFO: hasUFO, isMultiQueue: false, vhost: vhost)
    }

    func device<R>(_ body: (VirtioNet) -> sending R) -> R { transport.update(VirtioNet.self, body)! }

    func place(_ queue: Int) -> UInt64 { 0x10_0000 + UInt64(queue) * 0x8000 }
    func availablePlace(_ queue: Int) -> UInt64 { place(queue) + 0x4000 }
    func usedPlace(_ queue: Int) -> UInt64 { place(queue) + 0x5000 }

    /// The whole initialization; true when the device runs. `without`: features not to accept. `ringSize` is of the data queues.
    @discardableResult
    func start(without: UInt64 = 0, only: UInt64? = nil, ringSize: UInt16 = 256, queues: [Int]? = nil) throws -> Bool {
        negotiate((only.map { $0 | VirtioFeature.version1 } ?? offeredFeatures) & ~without)
        try memory.fill(at: 0x10_0000, count: 0x8000 * UInt64(rings.count))
        let last = rings.count - 1
        for queue in queues ?? Array(0...last) {
            rings[queue] = Ring(size: min(ringSize, UInt16(queue == last ? 64 : 256)))
            let size = UInt32(rings[queue].size)
            setUpQueue(
                QueueConfiguration(size: size, descriptorTable: place(queue), availableRing: availablePlace(queue), usedRing: usedPlace(queue)), at: queue)
        }
        write(.status, 15)
        run()
        return status.isLive
    }

    /// What the loops would do, until nothing is left to do.
    func run(rounds: Int = 40) {
        for _ in 0..<rounds { loop.runOnce(timeoutMilliseconds: 0) }
        transport.serveResetRequest()
    }

    // MARK: Rings

    /// Makes the chain at descriptor `head` available.
    func offer(_ queue: Int, head: UInt16) throws {
        try offer(head, ring: availablePlace(queue), size: rings[queue].size, index: &rings[queue].available)
    }

    func add(_ queue: Int, _ buffers: [Buffer], head: UInt16 = 0) throws {
        try writeTable(buffers, at: place(queue), first: Int(head))
        try offer(queue, head: head)
    }

    func notify(_ queue: Int) { transport.notifications[queue].signal() }

    /// Notifies and lets the device work.
    func kick(_ queue: Int) {
        if queue == controlIndex { transport.serveQueue(queue) } else { notify(queue) }
        run()
    }

    func newUsed(_ queue: Int) throws -> [UsedEntry] {
        try usedEntries(ring: usedPlace(queue), size: rings[queue].size, seen: &rings[queue].seen)
    }

    // MARK: Packets

    /// Sends a packet of one buffer, and returns what came out at the other end.
    func transmit(_ frame: [UInt8], header: [UInt8] = [UInt8](repeating: 0, count: 12), on wire: Wire, queue: Int = 1) throws -> [UInt8]? {
        try memory.write(at: Self.data, bytes: header + frame)
        try add(queue, [.readable(Self.data, UInt32(header.count + frame.count))])
        kick(queue)
        _ = try newUsed(queue)
        return wire.receive()
    }

    func receiveBuffer(_ index: Int, _ size: Int) -> UInt64 { Self.data + 0x10_0000 + UInt64(index * size) }

    /// Offers `count` buffers of `size` bytes, at descriptors `first` and on.
    func post(_ count: Int, size: Int = 2048, first: Int = 0, queue: Int = 0) throws {
        for index in first..<(first + count) {
            try add(queue, [.writable(receiveBuffer(index, size), UInt32(size))], head: UInt16(index))
        }
        kick(queue)
    }

    /// The packet of `used` entries from `post`'s buffers, with its header.
    func packet(_ used: [UsedEntry], size: Int = 2048) throws -> [UInt8] {
        try used.flatMap { $0.length == 0 ? [] : try bytes(receiveBuffer(Int($0.id), size), Int($0.length)) }
    }

    // MARK: Commands

    var controlIndex: Int { device { device in device.session.flatMap { device.controlIndex($0) } ?? -1 } }

    /// The answer; 0xff when there was none.
    func control(_ bytes: [UInt8]) throws -> UInt8 {
        let queue = controlIndex
        try memory.write(at: Self.command, bytes: bytes + [0])
        try memory.store(UInt8(0xff), at: Self.status)
        try add(queue, [.readable(Self.command, UInt32(bytes.count)), .writable(Self.status, 1)])
        kick(queue)
        _ = try newUsed(queue)
        return try memory.load(UInt8.self, at: Self.status)
    }

    func mode(_ command: UInt8, _ on: Bool) throws -> UInt8 { try control([0, command, on ? 1 : 0]) }

    static func table(_ addresses: [MACAddress]) -> [UInt8] {
        let count = UInt32(addresses.count)
        return (0..<4).map { UInt8(truncatingIfNeeded: count >> UInt32(8 * $0)) } + addresses.flatMap { address in (0..<6).map { address[$0] } }
    }
}
