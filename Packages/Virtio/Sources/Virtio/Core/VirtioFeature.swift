/// Feature bits that belong to no device type (virtio 1.2, section 6).
public enum VirtioFeature {
    /// A descriptor may refer to a table of descriptors.
    public static let indirectDescriptors: UInt64 = 1 << 28
    /// `used_event` and `avail_event` replace the notification flags.
    public static let eventIndex: UInt64 = 1 << 29
    /// Not a legacy device. Without it nothing here works.
    public static let version1: UInt64 = 1 << 32
}
