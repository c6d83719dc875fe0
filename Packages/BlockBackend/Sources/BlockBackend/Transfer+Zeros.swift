internal import CLiburing
internal import Glibc

/// Writes of zeros.
///
/// The guest may change its buffer while it is being looked at, and between the look and the write. Each byte that was found to be zero was zero at a moment at
/// which the device may read it, and it is not read again when the whole is taken for zeros; where anything else is found the look decides nothing but the way
/// on which the data is then written. So such a guest gets its own old or new bytes, as it does without the look, and nobody else's.
extension Transfer {
    /// Bytes that the owner's thread looks at: some microseconds. Workers look at what is behind.
    static let zeroLookLimit = 64 << 10

    enum ZeroLook { case data, zeros, undecided }

    func lookForZeros() -> ZeroLook {
        var left = Self.zeroLookLimit
        guard let vectors = unsafe vectors else { return .data }
        for index in 0..<Int(vectorCount) {
            // SAFETY: the iovecs and their memory are alive until the operation completes (BlockOperation's promise).
            let vector = unsafe vectors[index]
            let count = unsafe min(vector.iov_len, left)
            if let base = unsafe vector.iov_base, unsafe block_is_zero(base, UInt(count)) == 0 { return .data }
            left &-= count
            if left == 0 { return operation.length > UInt64(Self.zeroLookLimit) ? .undecided : .zeros }
        }
        return .zeros
    }

    func isAllZeros() -> Bool {
        guard let vectors = unsafe vectors else { return false }
        for index in 0..<Int(vectorCount) {
            // SAFETY: as above.
            let vector = unsafe vectors[index]
            if let base = unsafe vector.iov_base, unsafe block_is_zero(base, UInt(vector.iov_len)) == 0 { return false }
        }
        return true
    }
}
