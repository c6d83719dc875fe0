import AddressSpace
import Glibc
import LinuxSys
import Synchronization
@testable import Virtio

/// A guest on a stream back end that does what a machine does when the peer comes or goes. Everything runs on the test's thread.
final class StreamGuest {
    /// What was told of the link, in order.
    final class Changes: Sendable {
        let all = Mutex<[Bool]>([])
        let act = Mutex<(@Sendable () -> Void)?>(nil)
    }

    let loop: EventLoop
    let guest: NetGuest
    private let changes: Changes
    var told: [Bool] { changes.all.withLock { $0 } }

    init(_ options: StreamOptions) throws {
        loop = try EventLoop()
        let changes = Changes()
        self.changes = changes
        let backend = try Self.open(options, loop, changes)
        guest = try NetGuest(loop: loop, backend: backend)
        let transport = guest.transport
        changes.act.withLock {
            $0 = {
                transport.update(VirtioNet.self) { $0.carrierChanged() }
                transport.configurationChanged()
            }
        }
    }

    /// On one end of a pair of sockets; the other is the peer.
    convenience init(_ near: Int32) throws { try self.init(StreamOptions(netdev: "net0", address: .descriptor(near))) }

    deinit { changes.act.withLock { $0 = nil } }

    private static func open(_ options: StreamOptions, _ loop: EventLoop, _ changes: Changes) throws(NetError) -> NetBackend {
        try NetBackend.openStream(options, loop: loop) { isConnected in
            changes.all.withLock { $0.append(isConnected) }
            changes.act.withLock { $0 }?()
        }
    }

    var isLinkUp: Bool { guest.config(6, 2) == 1 }

    /// Runs the loop until `condition` holds; false when it has not within twenty seconds.
    func run(until condition: () -> Bool) -> Bool {
        let end = Clock.monotonicNanoseconds() + 20_000_000_000
        while Clock.monotonicNanoseconds() < end {
            if condition() { return true }
            loop.runOnce(timeoutMilliseconds: 5)
        }
        return condition()
    }

    /// The driver gets `count` buffers back that were for packets.
    func receives(_ count: Int) throws -> Bool {
        var found = 0
        for _ in 0..<2000 where found < count {
            loop.runOnce(timeoutMilliseconds: 5)
            found += try guest.newUsed(0).count
        }
        return found == count
    }
}

/// A peer that is as good or as bad as the test wants: bytes, not frames.
final class RawStream {
    private static let dontWait = Int32(MSG_DONTWAIT)
    private static let sendFlags = Int32(MSG_DONTWAIT | MSG_NOSIGNAL)

    let file: OwnedFD

    init(_ descriptor: Int32) { file = OwnedFD(adopting: descriptor) }

    /// What the socket took.
    @discardableResult
    func put(_ bytes: [UInt8]) -> Int { send(file.raw, bytes, bytes.count, Self.sendFlags) }

    func put(length: UInt32, _ rest: [UInt8] = []) { put((0..<4).map { UInt8(truncatingIfNeeded: length >> UInt32(24 - 8 * $0)) } + rest) }

    /// What is there, at most `limit` bytes; nil when there is nothing.
    func take(_ limit: Int = 1 << 20) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: limit)
        let count = recv(file.raw, &bytes, limit, Self.dontWait)
        return count > 0 ? Array(bytes[..<count]) : nil
    }

    /// The other end has closed, or cut the connection off.
    var isCutOff: Bool {
        var entry = pollfd(fd: file.raw, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, 0) == 1 && Int32(entry.revents) & POLLHUP != 0
    }
}
