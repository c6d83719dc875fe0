/// What a device does when the guest touches its registers.
///
/// Called on vCPU threads, possibly on several at once: the device locks itself. A call that was on its way
/// when the region left the address space still arrives. A device may change the address space from here.
public protocol RegionOps: AnyObject, Sendable {
    /// `size` is 1...8 (odd sizes happen: an x86 access that crosses a page), `offset + size` lies inside the
    /// region. The value is in the low `size` bytes, little endian; the rest is ignored.
    func read(offset: UInt64, size: Int) -> UInt64
    /// As `read`; bytes of `value` above `size` are 0.
    func write(offset: UInt64, size: Int, value: UInt64)
}
