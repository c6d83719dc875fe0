/// Everything that can be traced. The number is the event's bit in the mask, so there are at most 64.
public enum TraceEvent: UInt8, CaseIterable, Sendable {
    case vcpuStart, vcpuPause, vcpuResume, vcpuStop, vcpuUnknownExit
    case memoryAdd, memoryRemove
    case virtioStatus, virtioFeatures, virtioQueue, virtioNotify, virtioInterrupt, virtioConfigure, virtioNeedsReset, virtioReset
    case blockStart, blockEnd
    case netReceive, netTransmit
    case qmpCommand
    case deviceAdd, deviceRemove, blockdevAdd, blockdevRemove, netdevAdd, netdevRemove
    // Scopes: a beginning, an end and the time between.
    case machineRealize, deviceAttach, bootLoad, machineStart

    /// A length of time rather than a moment.
    public var isScope: Bool { rawValue >= TraceEvent.machineRealize.rawValue }

    /// As users write it.
    public var name: String { row.name.description }

    /// What its numbers mean, in order; those that begin with `0x` are shown in hexadecimal.
    var fields: StaticString { row.fields }

    private var row: (name: StaticString, fields: StaticString) {
        switch self {
        case .vcpuStart: ("vcpu_start", "vcpu")
        case .vcpuPause: ("vcpu_pause", "vcpu")
        case .vcpuResume: ("vcpu_resume", "vcpu")
        case .vcpuStop: ("vcpu_stop", "vcpu")
        case .vcpuUnknownExit: ("vcpu_unknown_exit", "vcpu reason")
        case .memoryAdd: ("memory_add", "0xaddress 0xsize")
        case .memoryRemove: ("memory_remove", "0xaddress 0xsize")
        case .virtioStatus: ("virtio_status", "0xold 0xnew")
        case .virtioFeatures: ("virtio_features", "0xoffered 0xaccepted")
        case .virtioQueue: ("virtio_queue", "queue size 0xdescriptors")
        case .virtioNotify: ("virtio_notify", "queue count")
        case .virtioInterrupt: ("virtio_interrupt", "reason")
        case .virtioConfigure: ("virtio_configure", "generation")
        case .virtioNeedsReset: ("virtio_needs_reset", "")
        case .virtioReset: ("virtio_reset", "")
        case .blockStart: ("block_start", "queue offset bytes")
        case .blockEnd: ("block_end", "queue status written")
        case .netReceive: ("net_receive", "buffers")
        case .netTransmit: ("net_transmit", "buffers")
        case .qmpCommand: ("qmp_command", "")
        case .deviceAdd: ("device_add", "")
        case .deviceRemove: ("device_remove", "")
        case .blockdevAdd: ("blockdev_add", "")
        case .blockdevRemove: ("blockdev_remove", "")
        case .netdevAdd: ("netdev_add", "")
        case .netdevRemove: ("netdev_remove", "")
        case .machineRealize: ("machine_realize", "")
        case .deviceAttach: ("device_attach", "")
        case .bootLoad: ("boot_load", "")
        case .machineStart: ("machine_start", "")
        }
    }
}
