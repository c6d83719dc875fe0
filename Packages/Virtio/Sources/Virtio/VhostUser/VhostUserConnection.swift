internal import LinuxSys

/// A stream of messages to a vhost-user back end, and its answers. The back end is another program, and may be hostile or broken: what it sends is checked
/// byte by byte, at most one answer is kept, descriptors are accepted only with the one answer that has one, and nothing here waits longer than it is told to.
///
/// Once a call has thrown the connection is of no further use. Under the device's lock.
final class VhostUserConnection {
    private let socket: OwnedFD
    /// Answers that the back end owes, in the order in which they must come.
    private var owed: [VhostUserReply] = []
    /// The part of the first one that is there.
    private var received: [UInt8] = []
    private var buffer: [UInt8] = []
    /// Came with the answer that is being received, or was received last.
    private var descriptors = DescriptorList()
    /// The back end acknowledges each request that asks for it (VHOST_USER_PROTOCOL_F_REPLY_ACK).
    var acknowledges = false

    init(_ socket: consuming OwnedFD) { self.socket = socket }

    /// How long to wait before a socket that is not there yet is tried again.
    private static let retryInterval: UInt64 = 10_000_000

    /// Connects to a unix socket. A back end that was started a moment ago may not listen yet: a socket that is missing or refuses is tried again for
    /// `patience` nanoseconds.
    static func connect(path: String, patience: UInt64) throws(VhostUserError) -> VhostUserConnection {
        let deadline = Clock.monotonicNanoseconds() &+ patience
        while true {
            do throws(Errno) { return VhostUserConnection(try StreamSocket.connect(path: path)) } catch {
                // EAGAIN: its backlog is full.
                let mayCome = error == .noEntry || error == .connectionRefused || error == .again
                guard mayCome, Clock.monotonicNanoseconds() < deadline else { throw .connect(path: path, error) }
            }
            Clock.sleep(nanoseconds: retryInterval)
        }
    }

    /// For an `EventGate`.
    var raw: Int32 { socket.raw }
    var owesNothing: Bool { owed.isEmpty }
    func owes(_ request: VhostUserRequest) -> Bool { owed.contains { $0.request == request } }

    // MARK: Sending

    /// Sends a request without waiting for the answer, which `next` gives. The socket's buffer holds far more than all requests of a session: a back end that
    /// makes it full is not reading.
    func send(_ message: VhostUserMessage, ring: UInt32 = 0) throws(VhostUserError) {
        let needsReply = acknowledges && !message.request.hasReply
        let bytes = message.bytes(needsReply: needsReply)
        let count: Int
        do throws(Errno) { count = try socket.send(bytes, descriptors: message.descriptors) } catch {
            switch error {
            case .again: throw .silent
            case .brokenPipe, .connectionReset: throw .hungUp
            default: throw .socket(error)
            }
        }
        // Half a message would shift all that follow.
        guard count == bytes.count else { throw .silent }
        if needsReply || message.request.hasReply { owed.append(VhostUserReply(message, ring: ring)) }
    }

    // MARK: Receiving

    /// The next answer that is there and whole; nil when none is. Acknowledgements are taken on the way.
    func next() throws(VhostUserError) -> VhostUserAnswer? {
        while try receivePart() {
            guard let reply = owed.first, received.count >= VhostUserMessage.headerSize, VhostUserReply.missing(after: received) == 0 else { continue }
            // GET_CONFIG: without a payload it has failed.
            guard received.count > VhostUserMessage.headerSize, descriptors.count == reply.descriptorCount else {
                throw received.count > VhostUserMessage.headerSize ? .violation(.descriptors) : .refused(request: reply.request.name)
            }
            let answer = VhostUserAnswer(reply.request, received)
            received = []
            owed.removeFirst()
            if reply.request.hasReply { return answer }
            if answer.number != 0 { throw .refused(request: reply.request.name) }
        }
        return nil
    }

    /// The descriptor that came with the answer of `next`; the caller's.
    func takeDescriptor() -> OwnedFD? { descriptors.takeFirst() }

    /// Waits until something is there, at most until `deadline` (CLOCK_MONOTONIC).
    func waitForAnswer(until deadline: UInt64) throws(VhostUserError) {
        let now = Clock.monotonicNanoseconds()
        guard now < deadline else { throw .silent }
        do throws(Errno) { _ = try socket.wait(for: .readable, nanoseconds: deadline - now) } catch { throw .socket(error) }
    }

    /// False when nothing is there.
    private func receivePart() throws(VhostUserError) -> Bool {
        // Never past the end of the answer that is next, so that no byte of the one after it needs a place.
        let wanted = VhostUserReply.missing(after: received)
        if received.isEmpty { descriptors.removeAll() }
        if buffer.count != wanted { buffer = [UInt8](repeating: 0, count: wanted) }
        let count: Int
        do throws(Errno) {
            count = try socket.receive(into: &buffer, descriptors: &descriptors, limit: owed.first?.descriptorCount ?? 0)
        } catch {
            switch error {
            case .again: return false
            case .tooManyFiles: throw .violation(.descriptors)
            case .connectionReset: throw .hungUp
            default: throw .socket(error)
            }
        }
        guard count > 0 else { throw .hungUp }
        guard let reply = owed.first else { throw .violation(.unasked) }
        received += buffer[..<count]
        if let fault = reply.fault(in: received) { throw .violation(fault) }
        return true
    }
}
