internal import CAddressSpace

/// Accesses to guest memory by host address. The bytes change under our hands, so each scalar is one volatile access
/// (no double fetch) and nothing here ever makes a Span or a buffer of them.
/// SAFETY of all of it: the caller has checked address and size against a range of a view that it holds.
@unsafe
enum RawMemory {
    /// The pointer of an address that was checked before; no check here.
    @inline(__always)
    static func pointer(_ address: UInt) -> UnsafeMutableRawPointer {
        // SAFETY: addresses come from mmap and are never 0.
        unsafe UnsafeMutableRawPointer(bitPattern: address).unsafelyUnwrapped
    }

    @inline(__always)
    static func load(_ address: UInt, size: Int) -> UInt64 {
        let source = unsafe pointer(address)
        switch size {
        case 1: return UInt64(unsafe as_load8(source))
        case 2: return UInt64(unsafe as_load16(source))
        case 4: return UInt64(unsafe as_load32(source))
        case 8: return unsafe as_load64(source)
        default:
            var value: UInt64 = 0
            for index in 0..<size { value |= UInt64(unsafe as_load8(source + index)) << UInt64(index &* 8) }
            return value
        }
    }

    @inline(__always)
    static func store(_ value: UInt64, _ address: UInt, size: Int) {
        let target = unsafe pointer(address)
        switch size {
        case 1: unsafe as_store8(target, UInt8(truncatingIfNeeded: value))
        case 2: unsafe as_store16(target, UInt16(truncatingIfNeeded: value))
        case 4: unsafe as_store32(target, UInt32(truncatingIfNeeded: value))
        case 8: unsafe as_store64(target, value)
        default:
            for index in 0..<size { unsafe as_store8(target + index, UInt8(truncatingIfNeeded: value >> UInt64(index &* 8))) }
        }
    }
}
