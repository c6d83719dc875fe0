internal import CVhostUser
internal import LinuxSys

/// The socket on which a back end makes requests of its own (VHOST_USER_SET_BACKEND_REQ_FD). One is known: the configuration has changed.
final class VhostUserChannel {
    /// VHOST_USER_BACKEND_CONFIG_CHANGE_MSG.
    private static let configurationChange: UInt32 = 2

    private let socket: OwnedFD
    private var farEnd: OwnedFD?
    private var received: [UInt8] = []

    init() throws(VhostUserError) {
        var ends: [Int32] = [-1, -1]
        do throws(Errno) { try checked(unsafe cvhostuser_socket_pair(&ends)) } catch { throw .socket(error) }
        socket = OwnedFD(adopting: ends[0])
        farEnd = OwnedFD(adopting: ends[1])
    }

    /// For an `EventGate`.
    var raw: Int32 { socket.raw }

    /// The back end's end, until `closeFarEnd`.
    var farDescriptor: Int32? { farEnd?.raw }

    /// The back end has its end.
    func closeFarEnd() { farEnd = nil }

    /// Takes one message, or a part of it; true when it says that the configuration has changed. A hang-up is the end of the channel, not of the back end:
    /// `.hungUp`.
    func receive() throws(VhostUserError) -> Bool {
        var descriptors = DescriptorList()
        var buffer = [UInt8](repeating: 0, count: VhostUserMessage.headerSize - received.count)
        let count: Int
        do throws(Errno) { count = try socket.receive(into: &buffer, descriptors: &descriptors, limit: 0) } catch {
            switch error {
            case .again: return false
            case .tooManyFiles: throw .violation(.descriptors)
            default: throw .hungUp
            }
        }
        guard count > 0 else { throw .hungUp }
        received += buffer[..<count]
        guard received.count == VhostUserMessage.headerSize else { return false }
        let header = received
        received = []
        let request = VhostUserAnswer.word(header[...], 0)
        let flags = VhostUserAnswer.word(header[...], 4)
        let size = VhostUserAnswer.word(header[...], 8)
        guard request == Self.configurationChange else { throw .violation(.channelRequest(request)) }
        guard flags & ~VhostUserMessage.needReplyFlag == VhostUserMessage.version else { throw .violation(.wrongFlags(flags)) }
        guard size == 0 else { throw .violation(.wrongSize(size)) }
        if flags & VhostUserMessage.needReplyFlag != 0 { try acknowledge(request) }
        return true
    }

    private func acknowledge(_ request: UInt32) throws(VhostUserError) {
        let words = [request, VhostUserMessage.version | VhostUserMessage.replyFlag, VhostUserMessage.numberSize, 0, 0]
        let bytes = words.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> UInt32(8 * $0)) } }
        do throws(Errno) { _ = try socket.send(bytes) } catch { throw error == .again ? .silent : .hungUp }
    }
}
