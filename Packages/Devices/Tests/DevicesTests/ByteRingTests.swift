import Testing

@testable import Devices

@Suite struct ByteRingTests {
    /// Against an array, with every place where the ring's end may cut a piece.
    @Test func bulkAndSingleBytes_agreeWithAnArray() {
        for capacity in Array(1...17) + [64, 65, 100, 1000] {
            var ring = ByteRing(capacity: capacity)
            var model: [UInt8] = []
            var next: UInt8 = 0
            var buffer: [UInt8] = []
            for step in 0..<400 {
                let wanted = (0..<(step * 7 % (capacity + 3))).map { next &+ UInt8(truncatingIfNeeded: $0) }
                let taken = ring.append(contentsOf: wanted.span)
                #expect(taken == min(wanted.count, capacity - model.count))
                model += wanted.prefix(taken)
                next &+= UInt8(truncatingIfNeeded: taken)
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

    @Test func memory_growsWithWhatIsHeldAtOnce_upToTheCapacity() {
        var ring = ByteRing(capacity: 16384)
        for byte in UInt8.min...UInt8.max {
            let isTaken = ring.append(byte)
            #expect(isTaken)
            #expect(ring.popFirst() == byte)
        }
        #expect(ring.footprint == 64)
        let few = [UInt8](repeating: 1, count: 100), many = [UInt8](repeating: 2, count: 20000)
        var taken = ring.append(contentsOf: few.span)
        #expect(taken == 100)
        #expect(ring.footprint == 128)
        taken = ring.append(contentsOf: many.span)
        #expect(taken == 16284)
        #expect(ring.footprint == 16384)
        let isTaken = ring.append(3)
        #expect(!isTaken)
    }
}
