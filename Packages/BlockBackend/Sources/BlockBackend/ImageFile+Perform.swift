internal import CLiburing
internal import Glibc
internal import LinuxSys

/// Whole operations by blocking calls, for pool threads. Results: bytes moved or 0, or a negated errno.
extension ImageFile {
    func perform(_ transfer: inout Transfer, _ bounce: inout BounceBuffer) -> Int32 {
        switch transfer.operation.kind {
        case .write where transfer.mayBeZeros && transfer.isAllZeros():
            let result = writeZeroes(&transfer, &bounce)
            return result < 0 ? result : Int32(clamping: transfer.operation.length)
        case .read, .write:
            let result = transfer.mustBounce || needsBounce(transfer.operation) ? bounced(&transfer, &bounce) : plain(&transfer, &bounce)
            return result < 0 ? result : Int32(clamping: transfer.operation.length)
        case .flush: return synchronize()
        case .discard: return discard(transfer.operation)
        case .writeZeroes:
            let result = writeZeroes(&transfer, &bounce)
            return result == 0 && transfer.isZeroWrite ? Int32(clamping: transfer.operation.length) : result
        }
    }

    private func plain(_ transfer: inout Transfer, _ bounce: inout BounceBuffer) -> Int32 {
        let isRead = transfer.operation.kind == .read
        var patience = Patience()
        while !transfer.isComplete {
            guard let vectors = unsafe transfer.vectors else { return -EINVAL }
            // SAFETY: vectors and their memory are alive until the operation completes (BlockOperation's promise).
            let result = unsafe isRead
                ? PositionalIO.read(file.raw, vectors: vectors, count: transfer.vectorCount, at: transfer.position)
                : PositionalIO.write(file.raw, vectors: vectors, count: transfer.vectorCount, at: transfer.position)
            if result > 0 {
                let progress = alignment?.down(UInt64(result)) ?? UInt64(result)
                if progress == 0 { return bounced(&transfer, &bounce) }
                transfer.advance(by: progress)
            } else if result == 0 {
                // Inside the image there is always data: the host has shortened the file.
                return -EIO
            } else if result == -Int(EINVAL), alignment != nil {
                return bounced(&transfer, &bounce)
            } else if !patience.permitsRetry(result) {
                return Int32(clamping: result)
            }
        }
        return 0
    }

    func synchronize() -> Int32 {
        if isReadOnly { return 0 }
        var result = PositionalIO.synchronizeData(file.raw)
        // Only an interrupted call is repeated. After EIO the kernel has dropped the dirty pages and a second call would claim success.
        while result == -Int(EINTR) { result = PositionalIO.synchronizeData(file.raw) }
        return Int32(clamping: result)
    }
}

/// How often a call that could not be made now (EINTR, EAGAIN) is repeated.
struct Patience {
    private var left = 1000

    mutating func permitsRetry(_ result: Int) -> Bool {
        if result == -Int(EINTR) { return true }
        guard result == -Int(EAGAIN), left > 0 else { return false }
        left &-= 1
        Clock.sleep(nanoseconds: 1_000_000)
        return true
    }
}
