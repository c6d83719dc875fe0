internal import LinuxSys

/// The memory in which a back end notes which requests it has taken and not given back (QEMU, docs/interop/vhost-user.rst, "Inflight I/O tracking"). It makes it; this
/// process keeps it for the next one, which does the rest, and never looks into it.
final class VhostUserInflight {
    /// `QueueRegionSplit` without its array, and one `DescStateSplit`.
    private static let regionHeader: UInt64 = 16
    private static let descriptorState: UInt64 = 16

    private let file: OwnedFD
    private let size: UInt64
    private let offset: UInt64
    private let shape: Shape

    /// Queues, and the entries of the largest.
    struct Shape {
        let queues: UInt16
        let queueSize: UInt16

        /// Bytes that the protocol's layout needs at least.
        var minimumSize: UInt64 { UInt64(queues) &* (regionHeader &+ descriptorState &* UInt64(queueSize)) }
    }

    /// The back end's answer to GET_INFLIGHT_FD: size and offset, which it may have invented, and the file.
    init(_ answer: VhostUserAnswer, _ file: consuming OwnedFD?, _ shape: Shape) throws(VhostUserError) {
        let (size, offset) = (answer.long(0), answer.long(8))
        guard let file, let status = try? SysFile.status(of: file), status.kind == .regular else { throw .violation(.inflight) }
        let (end, overflow) = offset.addingReportingOverflow(size)
        // Whoever maps it later must not die of a file that ends early.
        guard !overflow, end <= status.size, size >= shape.minimumSize, offset % HostPages.size == 0 else { throw .violation(.inflight) }
        self.file = file
        self.size = size
        self.offset = offset
        self.shape = shape
    }

    static func request(_ shape: Shape) -> VhostUserMessage { message(.getInflight, size: 0, offset: 0, shape) }

    /// SET_INFLIGHT_FD: hands it to the back end.
    var handover: VhostUserMessage {
        var message = Self.message(.setInflight, size: size, offset: offset, shape)
        message.attach(file.raw)
        return message
    }

    private static func message(_ request: VhostUserRequest, size: UInt64, offset: UInt64, _ shape: Shape) -> VhostUserMessage {
        var message = VhostUserMessage(request)
        message.append(size)
        message.append(offset)
        message.append(UInt32(shape.queues) | UInt32(shape.queueSize) << 16)
        // Padding of the C structure, which back ends count.
        message.append(UInt32(0))
        return message
    }
}
