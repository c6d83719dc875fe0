internal import AddressSpace
internal import Synchronization

/// One ring or descriptor table in guest RAM: bounds checked once when it is made, and again at each access.
///
/// Every access is a single atomic one. The guest changes this memory meanwhile, so a value must be fetched exactly once:
/// the compiler may repeat or tear a plain load (the class of vm-memory PR 95).
@safe
struct RingArea {
    // SAFETY: `base` is valid for `count` bytes because GuestMemory.hostRange said so; the queue that owns the area keeps the guest's memory,
    // and RAM that the guest loses (virtio-mem) stays mapped in this process as long as its device.
    private let base: UInt
    private let count: Int

    init(_ range: HostRange) {
        base = range.address
        count = range.count
    }

    /// A part of memory that is no guest's, such as rings between this process and another. Empty when it is not a part of `memory`.
    init(_ memory: HostMemory, offset: UInt64, count: Int) {
        let isInside = count >= 0 && offset <= memory.size && UInt64(count) <= memory.size - offset
        // SAFETY: `memory` is mapped for `size` bytes while whoever made it keeps it.
        base = memory.address &+ UInt(isInside ? offset : 0)
        self.count = isInside ? count : 0
    }

    @inline(__always)
    private func address(_ offset: Int, _ width: Int) -> UnsafeMutableRawPointer? {
        guard offset >= 0, offset <= count &- width else { return nil }
        return unsafe UnsafeMutableRawPointer(bitPattern: base &+ UInt(bitPattern: offset))
    }

    // SAFETY (all below): `address` has checked the bounds; the rings' alignment was checked at activation, a table's by `load64`.

    @inline(__always)
    func loadAcquire16(_ offset: Int) -> UInt16 {
        guard let pointer = unsafe address(offset, 2) else { return 0 }
        return UInt16(littleEndian: unsafe pointer.assumingMemoryBound(to: Atomic<UInt16>.self).pointee.load(ordering: .acquiring))
    }

    @inline(__always)
    func load16(_ offset: Int) -> UInt16 {
        guard let pointer = unsafe address(offset, 2) else { return 0 }
        return UInt16(littleEndian: unsafe pointer.assumingMemoryBound(to: Atomic<UInt16>.self).pointee.load(ordering: .relaxed))
    }

    @inline(__always)
    func store16(_ value: UInt16, _ offset: Int) {
        guard let pointer = unsafe address(offset, 2) else { return }
        unsafe pointer.assumingMemoryBound(to: Atomic<UInt16>.self).pointee.store(value.littleEndian, ordering: .relaxed)
    }

    @inline(__always)
    func load32(_ offset: Int) -> UInt32 {
        guard let pointer = unsafe address(offset, 4) else { return 0 }
        return UInt32(littleEndian: unsafe pointer.assumingMemoryBound(to: Atomic<UInt32>.self).pointee.load(ordering: .relaxed))
    }

    @inline(__always)
    func storeRelease16(_ value: UInt16, _ offset: Int) {
        guard let pointer = unsafe address(offset, 2) else { return }
        unsafe pointer.assumingMemoryBound(to: Atomic<UInt16>.self).pointee.store(value.littleEndian, ordering: .releasing)
    }

    @inline(__always)
    func store32(_ value: UInt32, _ offset: Int) {
        guard let pointer = unsafe address(offset, 4) else { return }
        unsafe pointer.assumingMemoryBound(to: Atomic<UInt32>.self).pointee.store(value.littleEndian, ordering: .relaxed)
    }

    /// An indirect table may have any alignment (virtio 1.2, section 2.7.5.3 asks for none): then it is fetched by bytes.
    @inline(__always)
    func load64(_ offset: Int) -> UInt64 {
        guard let pointer = unsafe address(offset, 8) else { return 0 }
        if UInt(bitPattern: pointer) & 7 == 0 {
            return UInt64(littleEndian: unsafe pointer.assumingMemoryBound(to: Atomic<UInt64>.self).pointee.load(ordering: .relaxed))
        }
        var value: UInt64 = 0
        for byte in 0..<8 {
            value |= UInt64(unsafe (pointer + byte).assumingMemoryBound(to: Atomic<UInt8>.self).pointee.load(ordering: .relaxed)) << UInt64(8 &* byte)
        }
        return value
    }

    /// A copy of descriptor `index`.
    @inline(__always)
    func descriptor(_ index: UInt16) -> Descriptor {
        let offset = Int(index) &* Descriptor.size
        let low = load64(offset)
        let high = load64(offset &+ 8)
        return Descriptor(
            address: low, length: UInt32(truncatingIfNeeded: high), flags: UInt16(truncatingIfNeeded: high >> 32), next: UInt16(truncatingIfNeeded: high >> 48))
    }
}

/// A descriptor as copied from guest memory (virtio 1.2, section 2.7.5).
struct Descriptor {
    static let size = 16
    static let next: UInt16 = 1
    static let write: UInt16 = 2
    static let indirect: UInt16 = 4

    let address: UInt64
    let length: UInt32
    let flags: UInt16
    let next: UInt16

    var hasNext: Bool { flags & Self.next != 0 }
    var isWritable: Bool { flags & Self.write != 0 }
    var isIndirect: Bool { flags & Self.indirect != 0 }
}
