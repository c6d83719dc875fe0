public import LinuxSys

/// What went wrong between a device and its vhost-user back end. The device adds which option it belongs to.
public enum VhostUserError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What a back end sent that it must not.
    public enum Violation: Equatable, Sendable, CustomStringConvertible {
        /// An answer to another request than the one that waits.
        case wrongRequest(UInt32)
        /// Another version of the protocol, or no reply.
        case wrongFlags(UInt32)
        case wrongSize(UInt32)
        case wrongRing(UInt32)
        case unasked
        case descriptors
        /// A configuration space that cannot be.
        case configuration
        /// An area for requests in flight that is not what was asked for.
        case inflight
        /// On the back end's own channel: a request that was not negotiated, or no request.
        case channelRequest(UInt32)

        public var description: String {
            switch self {
            case .wrongRequest(let number): "an answer to request \(number), which does not wait for one"
            case .wrongFlags(let flags): "a message with flags \(flags), which is no reply of protocol version 1"
            case .wrongSize(let size): "an answer of \(size) bytes"
            case .wrongRing(let ring): "an answer about ring \(ring), which was not asked for"
            case .unasked: "a message that nothing asked for"
            case .descriptors: "file descriptors that nothing asked for, or not those that it should have"
            case .configuration: "a configuration that is not possible"
            case .inflight: "an area for requests in flight that is not what was asked for"
            case .channelRequest(let number): "request \(number) of its own, which is not known"
            }
        }
    }

    case connect(path: String, Errno)
    /// Talking to the back end failed.
    case socket(Errno)
    case hungUp
    /// No answer in time, or nothing is read any more.
    case silent
    case violation(Violation)
    /// The back end says that a request failed.
    case refused(request: String)
    /// The back end does not know VIRTIO_F_VERSION_1.
    case tooOld
    case tooFewQueues(offered: UInt64, needed: Int)
    /// The back end does not tell the device's configuration (VHOST_USER_PROTOCOL_F_CONFIG).
    case noConfiguration
    /// A back end that came in the place of another has less than its driver has negotiated.
    case lessThanBefore
    /// Guest memory is not in a file that can be shared.
    case memoryNotShared
    /// More pieces than a message holds.
    case tooManyMemoryPieces(Int)
    /// The back end says that it can make no sense of a ring.
    case brokenRing

    public var description: String {
        switch self {
        case .connect(let path, let errno): "cannot connect to '\(path)': \(errno)"
        case .socket(let errno): "the connection to the vhost-user back end failed: \(errno)"
        case .hungUp: "the vhost-user back end hung up"
        case .silent: "the vhost-user back end does not answer"
        case .violation(let what): "the vhost-user back end sent \(what)"
        case .refused(let request): "the vhost-user back end refused \(request)"
        case .tooOld: "the vhost-user back end does not know virtio 1"
        case .tooFewQueues(let offered, let needed): "the vhost-user back end has \(offered) queues, \(needed) are needed"
        case .noConfiguration: "the vhost-user back end does not tell the device's configuration"
        case .lessThanBefore: "the vhost-user back end has less features than the one before, which the guest uses"
        case .memoryNotShared: "a vhost-user device needs shared guest memory: add mem-share=on to -machine"
        case .tooManyMemoryPieces(let count): "guest memory has \(count) pieces, a vhost-user back end takes 8"
        case .brokenRing: "the vhost-user back end cannot use a ring"
        }
    }

    /// For the transport, which knows error numbers only.
    var errno: Errno {
        switch self {
        case .connect(_, let errno), .socket(let errno): errno
        case .hungUp, .silent: .brokenPipe
        default: .io
        }
    }
}
