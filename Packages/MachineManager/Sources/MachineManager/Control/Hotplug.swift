/// A device to be plugged into a running machine.
public enum HotplugRequest: Equatable, Sendable {
    /// `slot` counts the machine's slots of that kind from 0; nil takes the first empty one.
    case block(VmConfig.VirtioBlock, slot: Int?)
    case net(VmConfig.VirtioNet, slot: Int?)
}

/// A device that a machine has.
public struct DeviceInfo: Equatable, Sendable {
    public var id: String
    /// The driver's name on the command line, for example `virtio-blk-device`.
    public var driver: String
    /// The id of the drive, netdev or chardev behind it.
    public var backend: String?

    public init(id: String, driver: String, backend: String? = nil) {
        self.id = id
        self.driver = driver
        self.backend = backend
    }

    /// Where a device with an id stands in QEMU's object tree.
    public static func path(id: String) -> String { "/machine/peripheral/\(id)" }
}

/// A disk image that is open.
public struct BlockNodeInfo: Equatable, Sendable {
    public var drive: VmConfig.Drive
    /// The id of the device that shows it to the guest.
    public var device: String?
    /// Bytes.
    public var size: UInt64
    /// Who serves it; never `automatic`.
    public var engine: VmConfig.Drive.AsyncIO
    /// Of the device; zeros without one.
    public var statistics: BlockNodeStatistics

    public init(
        drive: VmConfig.Drive, device: String?, size: UInt64, engine: VmConfig.Drive.AsyncIO, statistics: BlockNodeStatistics = BlockNodeStatistics()
    ) {
        self.drive = drive
        self.device = device
        self.size = size
        self.engine = engine
        self.statistics = statistics
    }
}

/// A thread that serves devices (`-object iothread`).
public struct IOThreadInfo: Equatable, Sendable {
    public var id: String
    /// Kernel thread id.
    public var threadID: Int32
    /// Nanoseconds that it looks for work at most before it sleeps.
    public var polling: UInt64

    public init(id: String, threadID: Int32, polling: UInt64) {
        self.id = id
        self.threadID = threadID
        self.polling = polling
    }
}

public struct ChardevInfo: Equatable, Sendable {
    public var id: String
    /// What it is connected to, as QEMU writes it: `pty:/dev/pts/3`, `unix:/run/console.sock,server=on`, `file`, `stdio`.
    public var filename: String
    /// A device reads from it and writes to it.
    public var isOpen: Bool

    public init(id: String, filename: String, isOpen: Bool) {
        self.id = id
        self.filename = filename
        self.isOpen = isOpen
    }
}

/// A range of the guest's physical address space with one owner.
public struct MemoryMapEntry: Equatable, Sendable {
    /// GPA.
    public var base: UInt64
    /// Bytes.
    public var size: UInt64
    public var name: String
    /// RAM, not device registers.
    public var isMemory: Bool

    public init(base: UInt64, size: UInt64, name: String, isMemory: Bool) {
        self.base = base
        self.size = size
        self.name = name
        self.isMemory = isMemory
    }
}

/// Whether the host has KVM, and whether the machine runs on it.
public struct Acceleration: Equatable, Sendable {
    public var isPresent: Bool
    public var isEnabled: Bool

    public init(isPresent: Bool, isEnabled: Bool) {
        self.isPresent = isPresent
        self.isEnabled = isEnabled
    }
}
