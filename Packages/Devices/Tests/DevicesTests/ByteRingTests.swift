import Testing

@testable import Devices

@Suite struct ByteRingTests {
    /// Against an array, with every place where the ring's end may cut a piece.
    @Test func bulkAndSingleBytes_agreeWithAnArray() {
        for capacity in 1...17 {
            var ring = ByteRing(capacity: capacity)
            var model: [UInt8] = []
            var next: UInt8 = 0
            var buffer: [UInt8] = []
            for step in 0..<400 {
                let wanted = (0..<(step * 7 % (capacity + 3))).map { next &+ UInt8($0) }
                let taken = ring.append(contentsOf: wanted.span)
                #expect(taken == min(wanted.count, capacity - model.count))
                model += wanted.prefix(taken)
                next &+= UInt8(taken)
                if ring.append(0xEE) { model.append(0xEE) }
                let limit = step * 5 % (capacity + 2)
                ring.copyFirst(limit, into: &buffer)
                #expect(buffer == Array(model.prefix(limit)))
                ring.removeFirst(limit)
                model.removeFirst(min(limit, model.count))
                if let byte = ring.popFirst() { #expect(byte == model.removeFirst()) }
                #expect(ring.count == model.count && ring.room == capacity - model.count)
            }
        }
    }
}
