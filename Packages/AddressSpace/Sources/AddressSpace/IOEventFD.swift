public import LinuxSys

/// A write that the hypervisor turns into an eventfd signal instead of an exit (KVM_IOEVENTFD,
/// kernel Documentation/virt/kvm/api.rst 4.59).
public struct IOEventFD: Sendable, Equatable {
    /// Guest physical address or port.
    public let address: UInt64
    /// 1, 2, 4, 8, or 0 for a write of any size.
    public let size: Int
    /// Only a write of this value counts; nil: any value.
    public let datamatch: UInt64?
    public let event: EventFD

    public init(address: UInt64, size: Int, datamatch: UInt64?, event: EventFD) {
        self.address = address
        self.size = size
        self.datamatch = datamatch
        self.event = event
    }

    public static func == (a: IOEventFD, b: IOEventFD) -> Bool {
        a.address == b.address && a.size == b.size && a.datamatch == b.datamatch && a.event === b.event
    }

    /// A total order in which equal elements are neighbours, for the difference of two views.
    static func precedes(_ a: IOEventFD, _ b: IOEventFD) -> Bool {
        if a.address != b.address { return a.address < b.address }
        if a.size != b.size { return a.size < b.size }
        if a.datamatch != b.datamatch {
            guard let x = a.datamatch else { return true }
            guard let y = b.datamatch else { return false }
            return x < y
        }
        return ObjectIdentifier(a.event) < ObjectIdentifier(b.event)
    }

    func matches(address: UInt64, size: Int, value: UInt64) -> Bool {
        guard address == self.address, self.size == 0 || self.size == size else { return false }
        guard let datamatch else { return true }
        return datamatch == value
    }
}
