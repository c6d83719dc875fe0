internal import BlockBackend
internal import MachineManager
internal import Virtio

/// A virtio device that the guest has from its start and whose back end comes and goes: QMP fills and empties it while the guest runs.
struct DeviceSlot {
    struct Occupant: Equatable {
        /// The device's id.
        let device: String
        /// The id of the drive or netdev behind it.
        let backend: String
    }

    let transport: VirtioMMIODevice
    /// Nil while the slot is empty.
    var occupant: Occupant?
}

/// A device that stays as long as the machine.
struct FixedDevice {
    let transport: VirtioMMIODevice
    let info: DeviceInfo
}

/// A disk image that somebody named: `-drive` or blockdev-add.
struct BlockNode {
    var drive: VmConfig.Drive
    /// Open from blockdev-add on, or while a device uses it.
    var image: RawImage?
    /// The id of that device.
    var device: String?
}

/// A network back end that somebody named: `-netdev` or netdev_add.
struct NetworkNode {
    var netdev: VmConfig.Netdev
    /// Open from netdev_add on, or while a device uses it; until then the descriptors of the command line stay where they are.
    var backend: NetBackend?
    var device: String?
}
