/// A range of guest physical memory cut into blocks of one size. The numbers have been checked: base and size are multiples of the block's size, which is a
/// power of two, and the end does not wrap.
struct BlockGrid: Equatable {
    let base: UInt64
    /// Bytes.
    let size: UInt64
    let blockSize: UInt64
    /// Blocks that the guest gets at or loses together: each such chunk is a memory slot of the hypervisor.
    let chunkBlocks: Int

    /// The most chunks of one device. Each one that is plugged costs about 400 bytes of this process, and looks at the guest's memory a little longer; KVM has room for 32764.
    static let chunkLimit: UInt64 = 256

    init(base: UInt64, size: UInt64, blockSize: UInt64) {
        self.base = base
        self.size = size
        self.blockSize = blockSize
        var chunk = blockSize
        while size > 0, (size - 1) / chunk >= Self.chunkLimit { chunk <<= 1 }
        chunkBlocks = Int(clamping: chunk / blockSize)
    }

    var blockCount: Int { Int(clamping: size / blockSize) }
    var chunkCount: Int { (blockCount + chunkBlocks - 1) / chunkBlocks }

    /// The blocks that a request names; nil unless it names at least one, from the start of a block on, and all lie in the first `usable` bytes.
    func blocks(at address: UInt64, count: UInt16, usable: UInt64) -> Range<Int>? {
        guard count > 0, address >= base, (address &- base) & (blockSize &- 1) == 0 else { return nil }
        let first = (address &- base) / blockSize
        let limit = min(usable, size) / blockSize
        // Subtraction form: neither `first + count` nor a number of bytes can wrap.
        guard first <= limit, UInt64(count) <= limit &- first else { return nil }
        return Int(first)..<Int(first) + Int(count)
    }

    /// Which bytes of the range these blocks are.
    func bytes(of blocks: Range<Int>) -> Range<UInt64> { UInt64(blocks.lowerBound) * blockSize..<UInt64(blocks.upperBound) * blockSize }

    /// The chunks that blocks lie in.
    func chunks(of blocks: Range<Int>) -> Range<Int> {
        guard !blocks.isEmpty else { return 0..<0 }
        return blocks.lowerBound / chunkBlocks..<(blocks.upperBound - 1) / chunkBlocks + 1
    }

    func blocks(ofChunk chunk: Int) -> Range<Int> { chunk * chunkBlocks..<min((chunk + 1) * chunkBlocks, blockCount) }
}
