import CBlockTestSupport
import Glibc
import LinuxSys
import Synchronization
import Testing

@testable import BlockBackend

@Suite struct CacheTests {
    /// The kernel refuses to flush: only an image that ignores flushes does not notice.
    @Test(arguments: [true, false]) func ignoredFlush_neverReachesTheHost(_ ignores: Bool) throws {
        let file = try TemporaryFile(size: 4096)
        let path = file.path
        let outcome = Mutex<[Int32]>([])
        let thread = try OSThread.start(name: "filtered", stackSize: 1 << 20) {
            // Before the workers start: they inherit the filter.
            guard blocktest_forbid_call(blocktest_fdatasync, EIO) == 0 else { return }
            guard let image = try? RawImage.open(RawImageOptions(path: path, engine: .threads, ignoresFlushes: ignores)) else { return }
            image.submit(BlockOperation(.flush, token: 0))
            image.drain { _, result in outcome.withLock { $0.append(result) } }
        }
        thread.join()
        #expect(outcome.withLock { $0 } == [ignores ? 0 : -EIO])
    }
}
