import Glibc
import Testing

@testable import BlockBackend

/// A transfer that the kernel does in several steps (Firecracker issue 5485: a wrong remainder wrote data twice).
@Suite struct TransferTests {
    @Test func shortTransfer_everySplitOfEveryShape_movesEachByteOnce() {
        let shapes = [[8], [1, 7], [3, 5], [0, 8], [4, 0, 4], [1, 1, 6], [2, 2, 2, 2], [1, 0, 0, 7]]
        for shape in shapes {
            // Bit n of `stops` set: the kernel stops behind byte n.
            for stops in 0..<128 {
                let memory = RequestMemory(count: 8, pieces: shape)
                memory.bytes = [1, 2, 3, 4, 5, 6, 7, 8]
                let before = (0..<memory.iovecCount).map { (memory.iovecs[$0].iov_base, memory.iovecs[$0].iov_len) }
                var transfer = Transfer(memory.operation(.write, at: 1000))
                var disk: [UInt8] = []
                while !transfer.isComplete {
                    #expect(transfer.position == 1000 + UInt64(disk.count))
                    let rest = gather(transfer)
                    var step = rest.count
                    for length in 1..<max(rest.count, 1) where stops & (1 << (disk.count + length - 1)) != 0 {
                        step = length
                        break
                    }
                    disk += rest.prefix(step)
                    transfer.advance(by: UInt64(step))
                    if disk.count > 8 { break }
                }
                transfer.restore()
                #expect(disk == [1, 2, 3, 4, 5, 6, 7, 8], "\(shape) \(stops)")
                for index in 0..<memory.iovecCount {
                    #expect(memory.iovecs[index].iov_base == before[index].0 && memory.iovecs[index].iov_len == before[index].1)
                }
            }
        }
    }

    private func gather(_ transfer: Transfer) -> [UInt8] {
        var bytes: [UInt8] = []
        for index in 0..<Int(transfer.vectorCount) {
            guard let vector = transfer.vectors?[index] else { continue }
            bytes += UnsafeRawBufferPointer(start: vector.iov_base, count: vector.iov_len)
        }
        return bytes
    }

    @Test func vectorCursor_piecesOfAnySize_copiesInOrder() {
        for piece in 1...9 {
            let memory = RequestMemory(count: 20, pieces: [3, 0, 5, 1, 11])
            memory.bytes = (0..<20).map { UInt8($0) }
            var cursor = VectorCursor(Transfer(memory.operation(.write, at: 0)))
            var copied: [UInt8] = []
            while copied.count < 20 {
                var part = [UInt8](repeating: 0xff, count: min(piece, 20 - copied.count))
                part.withUnsafeMutableBytes { if let base = $0.baseAddress { cursor.load($0.count, into: base) } }
                copied += part
            }
            #expect(copied == memory.bytes)
        }
    }

    @Test func indexQueue_wrapsAround_keepsOrder() {
        var queue = IndexQueue(capacity: 3)
        var next = 0
        var expected = 0
        for round in 0..<50 {
            for _ in 0..<(round % 3 + 1) where queue.count < 3 {
                queue.push(next % 1000)
                next += 1
            }
            while queue.count > round % 2 {
                let popped = queue.pop()
                #expect(popped == expected % 1000)
                expected += 1
            }
        }
        while queue.pop() != nil {}
        #expect(queue.count == 0)
    }
}
