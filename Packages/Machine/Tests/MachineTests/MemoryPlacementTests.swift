import Testing

@testable import Machine

@Suite struct MemoryPlacementTests {
    private typealias Request = MemoryDevicePlacement.Request
    private static let area: Range<UInt64> = 1 << 32..<1 << 36

    private func request(_ id: String, _ size: UInt64, at address: UInt64? = nil, alignment: UInt64 = 2 << 20) -> Request {
        Request(id: id, size: size, alignment: alignment, generousAlignment: max(alignment, 128 << 20), address: address)
    }

    private func sentence(_ requests: [Request], in area: Range<UInt64> = Self.area) -> String {
        do throws(MemoryPlacementError) { return "\(try MemoryDevicePlacement.place(requests, in: MemoryDeviceArea(range: area)))" } catch { return error.description }
    }

    @Test func devicesLieBehindEachOther_andAroundThoseWithAnAddress() throws {
        let places = try MemoryDevicePlacement.place(
            [request("a", 1 << 30), request("b", 2 << 20), request("c", 1 << 30, at: 6 << 30), request("d", 1 << 30), request("e", 64 << 20)], in: MemoryDeviceArea(range: Self.area))
        let expected: [UInt64] = [4 << 30, 5 << 30, 6 << 30, 7 << 30, (5 << 30) + (128 << 20)]
        #expect(places == expected)
        // The end of RAM need not be aligned.
        let odd: Range<UInt64> = (5 << 30) + 4096..<1 << 36
        #expect(try MemoryDevicePlacement.place([request("a", 1 << 30)], in: MemoryDeviceArea(range: odd)) == [expected[4]])
        #expect(try MemoryDevicePlacement.place([], in: MemoryDeviceArea(range: Self.area)).isEmpty)
    }

    @Test func addressesThatCannotBe_areRefused() {
        #expect(
            sentence([request("a", 2 << 20, at: (1 << 32) + 4096)])
                == "-device: memory device 'a': memaddr=0x100001000 is not a multiple of 0x200000")
        #expect(
            sentence([request("a", 2 << 20, at: 0)])
                == "-device: memory device 'a': memaddr=0x0 is below 0x100000000, where memory devices begin in this machine")
        #expect(
            sentence([request("a", 1 << 30, at: 4 << 30), request("b", 2 << 20, at: 0x1_3fe0_0000)])
                == "-device: memory device 'b': memaddr=0x13fe00000 is where device 'a' is")
        let tooHigh = "-device: memory device 'a': it does not fit below 0x1000000000, where the processor's physical addresses end"
        let last: UInt64 = (1 << 36) - (2 << 20)
        #expect(sentence([request("a", 4 << 20, at: last)]) == tooHigh)
        #expect(sentence([request("a", 1 << 37)]) == tooHigh)
        #expect(sentence([request("a", .max - 4095)]) == tooHigh)
        #expect(sentence([request("a", .max - 4095, at: 1 << 35)]) == tooHigh)
        // RAM itself reaches to the end.
        #expect(sentence([request("a", 2 << 20)], in: 1 << 36..<1 << 36) == tooHigh)
    }

    @Test func whatIsTaken_isLeftAlone() throws {
        let area = MemoryDeviceArea(range: Self.area, taken: [FixedRange("registers", at: 5 << 30, size: 32 << 20)])
        let places = try MemoryDevicePlacement.place([request("a", 1 << 30), request("b", 1 << 30), request("c", 2 << 20, at: (5 << 30) + (32 << 20))], in: area)
        #expect(places == [4 << 30, (5 << 30) + (128 << 20), (5 << 30) + (32 << 20)] as [UInt64])
        #expect { try MemoryDevicePlacement.place([request("a", 2 << 20, at: 5 << 30)], in: area) } throws: {
            "\($0)" == "-device: memory device 'a': memaddr=0x140000000 is where registers is"
        }
    }

    /// Whatever is asked for: what is placed lies in the area, aligned, at the address that was chosen, and over nothing else.
    @Test func regionsNeverOverlap() {
        var state: UInt64 = 7
        func random(_ limit: UInt64) -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return (state >> 33) % limit
        }
        var placed = 0
        for _ in 0..<3000 {
            let start: UInt64 = (1 << 32) + random(1 << 20) * 4096
            let end: UInt64 = start + (1 << 28) + (random(1 << 12) << 22)
            let area = start..<end
            let requests = (0..<random(8) + 1).map { index -> Request in
                let alignment: UInt64 = (2 << 20) << random(8)
                // Mostly aligned, so that the other checks are reached.
                let mask: UInt64 = random(4) == 0 ? 0 : alignment - 1
                let wish = (start + (random(1 << 12) << 21)) & ~mask
                let address: UInt64? = random(3) == 0 ? wish : nil
                return request("\(index)", alignment * (1 + random(8)), at: address, alignment: alignment)
            }
            guard let places = try? MemoryDevicePlacement.place(requests, in: MemoryDeviceArea(range: area)) else { continue }
            placed += 1
            #expect(places.count == requests.count)
            var ranges: [Range<UInt64>] = []
            for (request, place) in zip(requests, places) {
                let range = place..<place + request.size
                #expect(range.lowerBound >= area.lowerBound && range.upperBound <= area.upperBound)
                #expect(place % request.alignment == 0)
                #expect(request.address == nil ? place % request.generousAlignment == 0 : place == request.address)
                #expect(!ranges.contains { $0.overlaps(range) })
                ranges.append(range)
            }
        }
        #expect(placed > 500)
    }
}
