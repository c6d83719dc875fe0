/// What a virtio-mem device asks of the machine: memory of which the guest has a part. Byte ranges count from the start of the device's region. Called under the
/// device's lock, on any thread, one call at a time.
public protocol PluggableMemory: AnyObject {
    /// Bytes.
    var size: UInt64 { get }
    /// Bytes of the host's pages that it is made of, a power of two.
    var pageSize: UInt64 { get }
    /// The pages of what is plugged are taken from the host at once.
    var isPreallocated: Bool { get }

    /// Lets the guest get at these ranges, none of which it has. False, and nothing has changed, when the host has no room for them.
    func show(_ ranges: [Range<UInt64>]) -> Bool
    /// Takes these ranges away, each of which `show` has given: whatever the guest does there costs nothing afterwards. False, and nothing has changed, when
    /// the host refuses.
    func hide(_ ranges: [Range<UInt64>]) -> Bool
    /// Takes the pages of a range from the host; false when it has not enough.
    func populate(_ range: Range<UInt64>) -> Bool
    /// Gives the pages of a range back to the host; false when it keeps them.
    func discard(_ range: Range<UInt64>) -> Bool
}
