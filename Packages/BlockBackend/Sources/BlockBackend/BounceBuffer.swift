internal import LinuxSys

/// One pool thread's page-aligned buffer for direct I/O that the guest's own memory does not fit. Big requests pass through it in
/// pieces, so memory is bounded by the count of threads; it is given back when the thread has been idle for a while.
@safe struct BounceBuffer: ~Copyable {
    static let capacity = Int(DirectAlignment.limit)
    private var mapping: MemoryMapping?
    private var start: UnsafeMutableRawPointer?

    init() {}

    /// `capacity` bytes, valid until `release` or until this value goes; nil when the host has no memory.
    mutating func memory() -> UnsafeMutableRawPointer? {
        if unsafe start == nil {
            do {
                let new = try MemoryMapping.anonymous(size: Self.capacity)
                // SAFETY: both fields change together: the pointer is never kept without its mapping.
                unsafe start = new.base
                mapping = consume new
            } catch {}
        }
        return unsafe start
    }

    mutating func release() {
        unsafe start = nil
        mapping = nil
    }
}
