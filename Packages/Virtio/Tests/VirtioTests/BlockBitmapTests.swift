import Testing
@testable import Virtio

@Suite struct BlockBitmapTests {
    /// The same by a set of numbers, one bit at a time.
    private struct Model {
        var set: Set<Int> = []
        let count: Int

        func clamp(_ range: Range<Int>) -> Range<Int> { range.clamped(to: 0..<count) }
        func firstRun(_ range: Range<Int>) -> Range<Int>? {
            guard let start = clamp(range).first(where: set.contains) else { return nil }
            return start..<(clamp(range).first { $0 > start && !set.contains($0) } ?? clamp(range).upperBound)
        }
    }

    @Test(arguments: [0, 1, 63, 64, 65, 127, 128, 200, 1000]) func everyOperation_doesWhatASetOfNumbersDoes(_ count: Int) {
        var random = SeededGenerator(seed: UInt64(count))
        var bitmap = BlockBitmap(count: count)
        var model = Model(count: count)
        for _ in 0..<2000 {
            let start = Int(random.next() % UInt64(count + 3))
            let length = Int(random.next() % (random.next() % 3 == 0 ? UInt64(count + 3) : 5))
            let range = start..<start + length
            if random.next() % 2 == 0 {
                bitmap.set(range)
                model.set.formUnion(model.clamp(range))
            } else {
                bitmap.clear(range)
                model.set.subtract(model.clamp(range))
            }
            let other = Int(random.next() % UInt64(count + 3))
            let look = min(start, other)..<max(start, other)
            #expect(bitmap.setCount == model.set.count)
            #expect(bitmap.isAllSet(look) == model.clamp(look).allSatisfy(model.set.contains))
            #expect(bitmap.isAllClear(look) == !model.clamp(look).contains(where: model.set.contains))
            #expect(bitmap.firstSet(in: look) == model.clamp(look).first(where: model.set.contains))
            #expect(bitmap.firstClear(in: look) == model.clamp(look).first { !model.set.contains($0) })
            #expect(bitmap.firstRun(in: look) == model.firstRun(look))
        }
        for bit in 0..<count { #expect(bitmap.isAllSet(bit..<bit + 1) == model.set.contains(bit)) }
    }

    @Test func grid_namesBlocksOnlyInsideOfTheUsableRegion() {
        let block: UInt64 = 2 << 20
        let grid = BlockGrid(base: 1 << 32, size: 100 * block, blockSize: block)
        func blocks(_ address: UInt64, _ count: UInt16, _ usable: UInt64 = 50) -> Range<Int>? { grid.blocks(at: address, count: count, usable: usable * block) }
        #expect(blocks(1 << 32, 1) == 0..<1)
        #expect(blocks((1 << 32) + 49 * block, 1) == 49..<50)
        #expect(blocks(1 << 32, 50) == 0..<50)
        for (address, count) in [
            (1 << 32, 0), (1 << 32, 51), (1 << 32, .max), ((1 << 32) - block, 1), ((1 << 32) - block, 2), ((1 << 32) + 1, 1), ((1 << 32) + block - 1, 1),
            ((1 << 32) + 50 * block, 1), ((1 << 32) + 49 * block, 2), (0, 1), (.max, 1), (.max - block + 1, 1), (.max - block + 1, .max), (1 << 63, 1),
        ] as [(UInt64, UInt16)] {
            #expect(blocks(address, count) == nil, "\(address) \(count)")
        }
        // A usable region beyond the end would be a mistake of this program.
        #expect(blocks((1 << 32) + 99 * block, 1, 200) == 99..<100)
        #expect(blocks((1 << 32) + 99 * block, 2, 200) == nil)
        #expect(blocks(1 << 32, 1, 0) == nil)
    }

    @Test func grid_neverHasMoreThan256Chunks() {
        for blocks in [1, 2, 255, 256, 257, 511, 512, 513, 262_144] as [UInt64] {
            let grid = BlockGrid(base: 0, size: blocks << 21, blockSize: 2 << 20)
            #expect(grid.chunkCount <= 256)
            #expect(grid.chunkBlocks == 1 || blocks > 256)
            #expect(grid.chunks(of: 0..<grid.blockCount) == 0..<grid.chunkCount)
            // The chunks are the region, without a gap.
            var next = 0
            for chunk in 0..<grid.chunkCount {
                #expect(grid.blocks(ofChunk: chunk).lowerBound == next)
                next = grid.blocks(ofChunk: chunk).upperBound
            }
            #expect(next == grid.blockCount)
        }
        #expect(VirtioMem.defaultBlockSize(of: 512 << 20) == 2 << 20)
        #expect(VirtioMem.defaultBlockSize(of: 8 << 30) == 32 << 20)
        #expect(VirtioMem.defaultBlockSize(of: 512 << 30) == 2 << 30)
        #expect(VirtioMem.defaultBlockSize(of: (8 << 30) + (2 << 20)) == 2 << 20)
    }
}
