internal import Glibc
internal import LinuxSys

/// Direct I/O for operations that are not aligned: through the thread's buffer, whole blocks at a time. A write that covers a block only
/// partly reads it first; the owner keeps overlapping writes apart meanwhile (`WriteClaims`).
extension ImageFile {
    /// Moves the rest of a read or write; 0 or a negated errno.
    func bounced(_ transfer: inout Transfer, _ bounce: inout BounceBuffer) -> Int32 {
        guard let memory = unsafe bounce.memory() else { return -ENOMEM }
        var cursor = VectorCursor(transfer)
        let end = transfer.operation.offset &+ transfer.operation.length
        // SAFETY: memory is `BounceBuffer.capacity` bytes, alive until this thread releases it, which it does between operations.
        return transfer.operation.kind == .read
            ? unsafe readBounced(from: transfer.position, to: end, memory, &cursor)
            : unsafe writeBounced(from: transfer.position, to: end, memory) { memory, count in unsafe cursor.load(count, into: memory) }
    }

    @unsafe private func readBounced(from start: UInt64, to end: UInt64, _ memory: UnsafeMutableRawPointer, _ cursor: inout VectorCursor) -> Int32 {
        var position = start
        while position < end {
            let piece = Piece(at: position, end: end, self)
            // The last block of a file may be short, but never shorter than what the guest may ask for.
            let result = unsafe readAll(piece.isBuffered ? bufferedFD : file.raw, memory, piece.count, atLeast: piece.skip &+ piece.used, at: piece.start)
            if result < 0 { return result }
            unsafe cursor.store(piece.used, from: memory + piece.skip)
            position &+= UInt64(piece.used)
        }
        return 0
    }

    /// `fill` puts the next bytes to write at the given place.
    @unsafe func writeBounced(
        from start: UInt64, to end: UInt64, _ memory: UnsafeMutableRawPointer, _ fill: (UnsafeMutableRawPointer, _ count: Int) -> Void
    ) -> Int32 {
        var position = start
        while position < end {
            let piece = Piece(at: position, end: end, self)
            let descriptor = piece.isBuffered ? bufferedFD : file.raw
            var result: Int32 = 0
            if let block = alignment.map({ Int($0.offset) }), !piece.isBuffered {
                let last = piece.count &- block
                let isTailPartial = piece.skip &+ piece.used < piece.count
                if piece.skip > 0 || isTailPartial && last == 0 {
                    result = unsafe readAll(descriptor, memory, block, atLeast: block, at: piece.start)
                }
                if result == 0, isTailPartial, last > 0 {
                    result = unsafe readAll(descriptor, memory + last, block, atLeast: block, at: piece.start &+ UInt64(last))
                }
                if result < 0 { return result }
            }
            unsafe fill(memory + piece.skip, piece.used)
            result = unsafe writeAll(descriptor, memory, piece.count, at: piece.start)
            if result < 0 { return result }
            position &+= UInt64(piece.used)
        }
        return 0
    }

    /// The next part of an operation that fits the buffer.
    private struct Piece {
        /// First byte on the disk that is transferred, and how many; whole blocks unless buffered.
        let start: UInt64
        let count: Int
        /// Bytes in front that do not belong to the operation, and bytes that do.
        let skip: Int
        let used: Int
        let isBuffered: Bool

        init(at position: UInt64, end: UInt64, _ image: ImageFile) {
            let capacity = UInt64(BounceBuffer.capacity)
            guard let alignment = image.alignment, position < image.bufferedStart else {
                start = position
                count = Int(min(end &- position, capacity))
                skip = 0
                used = count
                isBuffered = true
                return
            }
            start = alignment.down(position)
            let limit = min(end, image.bufferedStart)
            // bufferedStart is aligned, so rounding up stays below it; capacity is a multiple of every alignment served.
            let stop = min(alignment.up(limit), start &+ capacity)
            count = Int(stop &- start)
            skip = Int(position &- start)
            used = Int(min(stop, limit) &- position)
            isBuffered = false
        }
    }

    /// Reads until `count` bytes are there, or the file ends behind the first `needed`.
    @unsafe private func readAll(_ descriptor: Int32, _ memory: UnsafeMutableRawPointer, _ count: Int, atLeast needed: Int, at offset: UInt64) -> Int32 {
        var done = 0
        var patience = Patience()
        while done < count {
            // SAFETY: done < count, and the caller vouches for `count` bytes at `memory`.
            let result = unsafe PositionalIO.read(descriptor, into: memory + done, count: count &- done, at: offset &+ UInt64(done))
            if result > 0 {
                done &+= result
                if done >= needed { return 0 }
                // A direct read goes on only from a whole block; one that ends inside a block has met the end of a shortened file.
                if descriptor == file.raw, let alignment, !alignment.isOffsetAligned(UInt64(done)) { return -EIO }
            } else if result == 0 {
                return -EIO
            } else if !patience.permitsRetry(result) {
                return Int32(clamping: result)
            }
        }
        return 0
    }

    @unsafe private func writeAll(_ descriptor: Int32, _ memory: UnsafeMutableRawPointer, _ count: Int, at offset: UInt64) -> Int32 {
        var done = 0
        var patience = Patience()
        while done < count {
            // SAFETY: as for readAll.
            let result = unsafe PositionalIO.write(descriptor, from: memory + done, count: count &- done, at: offset &+ UInt64(done))
            if result > 0 {
                done &+= result
                // A direct write that stopped inside a block repeats that block.
                if descriptor == file.raw, done < count, let alignment {
                    let whole = Int(alignment.down(UInt64(done)))
                    if whole == 0, done < Int(alignment.offset) { return -EIO }
                    done = whole
                }
            } else if result == 0 {
                return -EIO
            } else if !patience.permitsRetry(result) {
                return Int32(clamping: result)
            }
        }
        return 0
    }
}
