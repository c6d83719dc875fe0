import AddressSpace
import Glibc
import LinuxSys
import Synchronization
import Testing
@testable import Virtio

/// A packet as the guest's driver sees it.
struct VsockPacket {
    var header: VsockHeader
    var data: [UInt8] = []

    var operation: VsockOperation? { VsockOperation(rawValue: header.operation) }
}

extension VsockConnection {
    var waiting: Int? { buffer == nil ? nil : buffer?.count }
}

/// A guest with a vsock driver, and the host's programs beside it.
final class VsockGuest {
    static let cid: UInt64 = 3
    static let bufferSize: UInt32 = 4096
    /// What the driver says of its own sockets.
    static let credit: UInt32 = 256 << 10
    static let first: UInt32 = 1 << 30

    let guest: QueueGuest
    let path: String
    private let folder: String
    /// Buffers of the receive queue go back to the device as soon as they were read.
    var recycles = true
    private var sent = 0
    /// Receive buffers and packets on their way out, in the guest's memory.
    private static let receiveBuffers = QueueGuest.data
    private static let transmitBuffers = QueueGuest.data + (2 << 20)
    private static let transmitSlots = 8
    private static let transmitSlotSize: UInt64 = 0x2_0000

    /// Descriptors of the host's programs.
    private var sockets: [Int32] = []

    init(connections: Int = 64, patience: UInt64 = VirtioVsock.patience) throws {
        folder = try Self.makeFolder()
        path = folder + "/s"
        guest = try QueueGuest(try VirtioVsock(guestCID: Self.cid, path: path, maximumConnections: connections, patience: patience))
    }

    static func makeFolder() throws -> String {
        var template = Array("/tmp/vsock-XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit {
        for socket in sockets { Glibc.close(socket) }
        for entry in Self.entries(folder) { unlink(folder + "/" + entry) }
        rmdir(folder)
    }

    static func entries(_ folder: String) -> [String] {
        guard let directory = opendir(folder) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) } }
            if !name.hasPrefix(".") { names.append(name) }
        }
        return names
    }

    /// With `buffers` buffers in the receive queue.
    func start(buffers: Int = 16) throws {
        try guest.start(size: 16)
        try give(buffers)
    }

    func device<R: Sendable>(_ body: @Sendable (VirtioVsock) -> R) -> R? {
        guest.transport.state.withLock { state in
            guard let device = state.device as? VirtioVsock else { return nil }
            return body(device)
        }
    }

    var connectionCount: Int { device { $0.table.count } ?? -1 }
    /// Bytes that the only connection's buffer holds; nil when there is no buffer.
    var buffered: Int? { device { $0.table[0]?.waiting } ?? nil }
    var dropped: UInt64 { guest.transport.statistics.droppedRequests }

    func kick(_ queue: Int) {
        guest.kick(queue)
        serve()
    }

    /// What the event loop would do until nothing is left.
    func serve() {
        for _ in 0..<1000 {
            guest.serve()
            var entry = pollfd(fd: guest.eventSources[0], events: Int16(POLLIN), revents: 0)
            let isPaused = device { $0.eventSources.isEmpty } ?? true
            guard !isPaused, poll(&entry, 1, 0) == 1 else { return }
        }
        Issue.record("the device is never done")
    }

    // MARK: Receive queue

    func give(_ count: Int, size: UInt32 = bufferSize) throws {
        for _ in 0..<count {
            let head = guest.rings[0].availableIndex % guest.rings[0].size
            try guest.offer(0, head: head, [.writable(Self.receiveBuffers + UInt64(head) * 0x2_0000, size)])
        }
        kick(0)
    }

    /// Packets that have come since the last call.
    func received() throws -> [VsockPacket] {
        serve()
        let used = try guest.newUsed(0)
        var packets: [VsockPacket] = []
        for entry in used {
            let place = Self.receiveBuffers + UInt64(entry.id) * 0x2_0000
            let bytes = try guest.bytes(place, Int(entry.length))
            guard let header = VsockHeader(bytes) else { continue }
            #expect(bytes.count == VsockHeader.size + Int(header.length))
            #expect(header.destinationCID == Self.cid)
            packets.append(VsockPacket(header: header, data: Array(bytes.dropFirst(VsockHeader.size))))
        }
        if recycles, !used.isEmpty { try give(used.count) }
        return packets
    }

    /// The one packet that has come.
    func one() throws -> VsockPacket {
        let packets = try received()
        try #require(packets.count == 1, "\(packets.map(\.header))")
        return packets[0]
    }

    /// What comes until `condition` holds, with the loop turning.
    func wait(milliseconds: Int = 10_000, until condition: ([VsockPacket]) -> Bool) throws -> [VsockPacket] {
        var packets: [VsockPacket] = []
        let end = Clock.monotonicNanoseconds() + UInt64(milliseconds) * 1_000_000
        while Clock.monotonicNanoseconds() < end {
            packets += try received()
            if condition(packets) { return packets }
            Clock.sleep(nanoseconds: 500_000)
        }
        Issue.record("nothing came: \(packets.map(\.header))")
        return packets
    }

    // MARK: Transmit queue

    func header(
        _ operation: VsockOperation, guest port: UInt32, host: UInt32, length: UInt32 = 0, flags: UInt32 = 0, credit: UInt32 = credit, forwarded: UInt32 = 0
    ) -> VsockHeader {
        VsockHeader(
            sourceCID: Self.cid, destinationCID: VirtioVsock.hostCID, sourcePort: port, destinationPort: host, length: length, operation: operation.rawValue,
            flags: flags, bufferSize: credit, forwarded: forwarded)
    }

    /// Sends a packet, in pieces of the given sizes if any; the device serves it unless `kicks` is false.
    func send(_ header: VsockHeader, _ data: [UInt8] = [], pieces: [UInt32]? = nil, kicks: Bool = true) throws {
        var bytes = [UInt8](repeating: 0, count: VsockHeader.size)
        header.store(into: &bytes)
        try sendRaw(bytes + data, pieces: pieces, kicks: kicks)
    }

    func sendRaw(_ bytes: [UInt8], pieces: [UInt32]? = nil, kicks: Bool = true) throws {
        let slot = sent % Self.transmitSlots
        sent += 1
        let place = Self.transmitBuffers + UInt64(slot) * Self.transmitSlotSize
        try guest.fill(place, bytes)
        var buffers: [Buffer] = []
        var address = place
        for piece in pieces ?? [UInt32(bytes.count)] {
            buffers.append(.readable(address, piece))
            address += UInt64(piece)
        }
        // Two descriptors a slot, or all of them for one in pieces.
        try guest.offer(1, head: pieces == nil ? UInt16(slot) : 0, buffers)
        if kicks { kick(1) }
    }

    func send(
        _ operation: VsockOperation, guest port: UInt32, host: UInt32, _ data: [UInt8] = [], flags: UInt32 = 0, credit: UInt32 = credit, forwarded: UInt32 = 0
    ) throws {
        try send(header(operation, guest: port, host: host, length: UInt32(data.count), flags: flags, credit: credit, forwarded: forwarded), data)
    }

    // MARK: The host's programs

    /// Connects to the device's socket and says what it wants.
    func program(_ line: String? = nil) throws -> Int32 {
        let socket = try StreamSocket.connect(path: path).take()
        sockets.append(socket)
        if let line { write(socket, Array(line.utf8)) }
        return socket
    }

    func listen(port: UInt32, backlog: Int32 = 64) throws -> Int32 {
        let socket = try StreamSocket.listen(path: "\(path)_\(port)", backlog: backlog).take()
        sockets.append(socket)
        return socket
    }

    func accept(_ listener: Int32) throws -> Int32 { try #require(acceptWaiting(listener)) }

    /// Nil when nobody waits.
    func acceptWaiting(_ listener: Int32) -> Int32? {
        let socket = Glibc.accept(listener, nil, nil)
        guard socket >= 0 else { return nil }
        sockets.append(socket)
        return socket
    }

    func close(_ socket: Int32) {
        sockets.removeAll { $0 == socket }
        Glibc.close(socket)
    }

    /// Bytes that the socket took.
    @discardableResult
    func write(_ socket: Int32, _ bytes: [UInt8]) -> Int { Glibc.send(socket, bytes, bytes.count, Int32(MSG_NOSIGNAL | MSG_DONTWAIT)) }
    @discardableResult
    func write(_ socket: Int32, _ text: String) -> Int { write(socket, Array(text.utf8)) }

    /// What is there now; nil at the end, or when the other side was lost.
    func read(_ socket: Int32, _ limit: Int = 1 << 20) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: limit)
        let count = Glibc.recv(socket, &bytes, limit, Int32(MSG_DONTWAIT))
        if count < 0, errno == EAGAIN { return [] }
        return count > 0 ? Array(bytes[..<count]) : nil
    }

    func text(_ socket: Int32) -> String? { read(socket).map { String(decoding: $0, as: UTF8.self) } }

    // MARK: Whole connections

    /// From the host to `port` of the guest: the program's socket, and the host's port.
    func connectFromHost(port: UInt32 = 52, credit: UInt32 = credit) throws -> (socket: Int32, port: UInt32) {
        let socket = try program("CONNECT \(port)\n")
        let request = try one()
        #expect(request.operation == .request)
        #expect(request.header.destinationPort == port)
        try send(.response, guest: port, host: request.header.sourcePort, credit: credit)
        #expect(text(socket) == "OK \(request.header.sourcePort)\n")
        return (socket, request.header.sourcePort)
    }

    /// From `port` of the guest to `host` of the host: the program's socket.
    func connectFromGuest(port: UInt32 = 1000, host: UInt32, listener: Int32, credit: UInt32 = credit) throws -> Int32 {
        try send(.request, guest: port, host: host, credit: credit)
        let response = try one()
        #expect(response.operation == .response)
        #expect(response.header.sourcePort == host && response.header.destinationPort == port)
        return try accept(listener)
    }
}
