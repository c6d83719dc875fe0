internal import Glibc

/// An operation and how far it has come. Whoever runs the operation (the owner's thread with io_uring, else one pool thread) has it
/// alone meanwhile.
@safe struct Transfer {
    var operation: BlockOperation
    /// Bytes already moved.
    private(set) var done: UInt64 = 0
    /// The first iovec that is not wholly moved; it begins at byte `done`.
    private(set) var firstVector: Int32 = 0
    /// Go through a bounce buffer though everything looked aligned: the kernel refused it.
    var mustBounce = false
    /// A write whose data has begun with zeros: a worker looks at the rest of it before it writes.
    var mayBeZeros = false
    /// A write that has become `.writeZeroes`.
    var isZeroWrite = false
    private var savedIndex: Int32 = -1
    private var saved = unsafe iovec()

    init(_ operation: BlockOperation) { self.operation = operation }

    /// Where the rest begins on the disk.
    var position: UInt64 { operation.offset &+ done }
    var isComplete: Bool { done >= operation.length }

    /// The iovecs that are left, and their count.
    var vectors: UnsafeMutablePointer<iovec>? { unsafe operation.iovecs.map { unsafe $0 + Int(firstVector) } }
    var vectorCount: Int32 { operation.iovecCount &- firstVector }

    /// Skips `count` bytes that were moved, so that the rest continues exactly behind them. A partly moved iovec is shortened in
    /// place until `restore`; there is never more than one.
    mutating func advance(by count: UInt64) {
        done &+= count
        var count = count
        while count > 0, firstVector < operation.iovecCount, let vector = unsafe vectors {
            // SAFETY: firstVector < iovecCount, and the array is alive until the operation completes (BlockOperation's promise).
            let length = unsafe UInt64(vector.pointee.iov_len)
            if count < length {
                if savedIndex != firstVector {
                    savedIndex = firstVector
                    unsafe saved = vector.pointee
                }
                unsafe vector.pointee.iov_base = vector.pointee.iov_base.map { unsafe $0 + Int(count) }
                unsafe vector.pointee.iov_len = Int(length &- count)
                return
            }
            count &-= length
            restore()
            firstVector &+= 1
        }
    }

    /// Puts a shortened iovec back. Called before the completion is delivered.
    mutating func restore() {
        guard savedIndex >= 0, let vectors = unsafe operation.iovecs else { return }
        // SAFETY: savedIndex was a valid index when the element was saved.
        unsafe vectors[Int(savedIndex)] = saved
        savedIndex = -1
    }
}

/// Copies between a host buffer and the rest of a transfer's iovecs, from front to back.
@safe struct VectorCursor {
    private var vector: UnsafeMutablePointer<iovec>?
    private var count: Int32
    private var offset = 0

    init(_ transfer: borrowing Transfer) {
        unsafe vector = transfer.vectors
        count = transfer.vectorCount
    }

    /// SAFETY of both copies: `memory` holds `size` bytes (the caller's bounce buffer); the iovecs and what they name are alive until the
    /// operation completes. Guest memory may change during the copy: it is only moved, never interpreted.
    @unsafe mutating func store(_ size: Int, from memory: UnsafeMutableRawPointer) {
        unsafe step(size) { unsafe memcpy($0, memory + $1, $2) }
    }

    @unsafe mutating func load(_ size: Int, into memory: UnsafeMutableRawPointer) {
        unsafe step(size) { unsafe memcpy(memory + $1, $0, $2) }
    }

    @inline(__always)
    private mutating func step(_ size: Int, _ move: (_ guest: UnsafeMutableRawPointer, _ at: Int, _ count: Int) -> Void) {
        var moved = 0
        while moved < size, count > 0, let current = unsafe vector {
            let available = unsafe Int(current.pointee.iov_len) &- offset
            let piece = min(available, size &- moved)
            if piece > 0, let base = unsafe current.pointee.iov_base { unsafe move(base + offset, moved, piece) }
            moved &+= piece
            offset &+= piece
            if piece == available {
                unsafe vector = current + 1
                count &-= 1
                offset = 0
            }
        }
    }
}
