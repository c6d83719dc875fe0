internal import CAddressSpace
public import LinuxSys

/// Parts of a mapping, for memory of which the guest has a part at a time. Ranges are bytes of the mapping and whole pages of it; what lies beyond the end is an
/// error (EINVAL). Any thread.
extension HostMemory {
    /// Gives the pages back to the host. What is read afterwards is what a new mapping would show: zeros, or the file behind a private one.
    public func discard(_ range: Range<UInt64>) throws(Errno) {
        let part = try part(range)
        let result = isShared ? as_punch_hole(part.address, part.count) : as_discard(part.address, part.count)
        guard result == 0 else { throw Errno(Int32(truncatingIfNeeded: 0 &- result)) }
    }

    /// Takes the pages from the host now, without changing what they hold; fails where a later access would find none (ENOMEM, or EFAULT for a file).
    public func populate(_ range: Range<UInt64>) throws(Errno) {
        let part = try part(range)
        guard part.count > 0 else { return }
        let result = as_populate(part.address, part.count)
        // A kernel before 5.14 does not know it: the pages come when they are touched.
        guard result == 0 || result == -Int(Errno.invalid.code) else { throw Errno(Int32(truncatingIfNeeded: 0 &- result)) }
    }

    private func part(_ range: Range<UInt64>) throws(Errno) -> (address: UInt, count: Int) {
        guard range.upperBound <= size, (range.lowerBound | range.upperBound) % UInt64(pageSize) == 0 else { throw .invalid }
        // The mapping has `size` bytes, so neither wraps.
        return (address &+ UInt(range.lowerBound), Int(range.upperBound &- range.lowerBound))
    }
}
