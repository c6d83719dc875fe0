public import LinuxSys

/// A rule of virtio that the guest broke, and what the device does about it.
///
/// Stopping the virtual machine is the third thing a monitor can do. No fault of this package asks for it: a guest that has
/// ruined its own rings can still reset the device, power off, or be paused and looked at.
public enum GuestFault: Error, Equatable, Sendable {
    /// The access or request is ignored and counted; the device goes on.
    case dropped
    /// The device sets DEVICE_NEEDS_RESET and stands still until the driver writes 0 to the status register (virtio 1.2, section 2.1.2).
    case needsReset(QueueFault)
}

/// Why a virtqueue cannot be used any more.
public enum QueueFault: Error, Equatable, Sendable, CustomStringConvertible {
    /// Not a power of two between 1 and the maximum (virtio 1.2, section 2.7).
    case badSize(UInt32)
    /// A ring is not aligned to 16, 2 or 4 bytes (virtio 1.2, section 2.7).
    case misalignedRing
    /// A ring lies wholly or partly outside of RAM, or is not one piece of it.
    case ringOutsideRAM
    /// The driver claims more new buffers than the ring has entries.
    case availableIndexJump(UInt16)
    /// The available ring names a descriptor that the table does not have.
    case headOutOfRange(UInt16)
    /// The available ring names a descriptor that is the device's already.
    case headInUse(UInt16)
    /// A descriptor's `next` names one that its table does not have.
    case nextOutOfRange(UInt16)
    /// More descriptors than a chain may have: a loop (the CVE-2016-5403 class).
    case chainTooLong
    /// More than 2^32 bytes in one chain (virtio 1.2, section 2.7.5.2).
    case chainTooLarge
    /// A buffer lies wholly or partly outside of RAM (the CVE-2021-3416 class), or its end wraps.
    case bufferOutsideRAM
    /// A buffer that the device reads follows one that it writes (virtio 1.2, section 2.7.4.2).
    case readableAfterWritable
    case indirectNotNegotiated
    /// An indirect table inside an indirect table.
    case nestedIndirect
    /// INDIRECT and NEXT in one descriptor (virtio 1.2, section 2.7.5.3.1).
    case indirectWithNext
    /// An indirect table of no bytes, a part of a descriptor, or more descriptors than a chain may have.
    case badIndirectLength(UInt32)
    case indirectTableOutsideRAM
    /// Not the guest's fault: the host, or a back end in another process, cannot go on.
    case hostFailure(Errno)

    public var description: String {
        switch self {
        case .badSize(let size): "queue size \(size) is not possible"
        case .misalignedRing: "a ring is misaligned"
        case .ringOutsideRAM: "a ring is outside of RAM"
        case .availableIndexJump(let count): "the available index moved by \(count), more than the queue holds"
        case .headOutOfRange(let index): "available descriptor \(index) does not exist"
        case .headInUse(let index): "available descriptor \(index) is in use already"
        case .nextOutOfRange(let index): "next descriptor \(index) does not exist"
        case .chainTooLong: "a descriptor chain is too long or loops"
        case .chainTooLarge: "a descriptor chain has more than 2^32 bytes"
        case .bufferOutsideRAM: "a buffer is outside of RAM"
        case .readableAfterWritable: "a device-readable buffer follows a device-writable one"
        case .indirectNotNegotiated: "an indirect descriptor was used without the feature"
        case .nestedIndirect: "an indirect table contains an indirect descriptor"
        case .indirectWithNext: "an indirect descriptor has a next one"
        case .badIndirectLength(let length): "an indirect table of \(length) bytes is not possible"
        case .indirectTableOutsideRAM: "an indirect table is outside of RAM"
        case .hostFailure(let error): "the host cannot serve it: \(error)"
        }
    }
}
