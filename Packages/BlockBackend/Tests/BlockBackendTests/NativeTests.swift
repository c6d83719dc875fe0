import CBlockTestSupport
import Glibc
import LinuxSys
import Synchronization
import Testing

@testable import BlockBackend

/// Linux AIO. What all engines do alike is in the other suites, under `Configuration.all`.
@Suite struct NativeTests {
    @Test(arguments: [ENOSYS, EPERM, EAGAIN])
    func aioRefused_isAnErrorThatNamesTheWayOut(_ code: Int32) throws {
        let file = try TemporaryFile(size: 4096)
        let refuse: RawImage.NativeOpener = { (_, _, _) throws(Errno) in throw Errno(code) }
        #expect(throws: BlockError.nativeUnavailable(path: file.path, Errno(code))) {
            _ = try RawImage(RawImageOptions(path: file.path, direct: true, engine: .native), openNative: refuse)
        }
        let text = BlockError.nativeUnavailable(path: "d", Errno(ENOSYS)).description
        #expect(text == "Linux AIO is not available for drive 'd' (Function not implemented); use aio=io_uring or aio=threads")
        #expect(BlockError.nativeUnavailable(path: "d", Errno(EAGAIN)).description.contains("/proc/sys/fs/aio-max-nr"))
    }

    @Test func aioForbiddenBySeccomp_isRefused() throws {
        let file = try TemporaryFile(size: 4096)
        let path = file.path
        let outcome = Mutex<BlockError?>(nil)
        let thread = try OSThread.start(name: "filtered") {
            guard blocktest_forbid_call(blocktest_io_setup, EPERM) == 0 else { return }
            do throws(BlockError) { _ = try RawImage.open(RawImageOptions(path: path, direct: true, engine: .native)) } catch {
                outcome.withLock { $0 = error }
            }
        }
        thread.join()
        #expect(outcome.withLock { $0 } == .nativeUnavailable(path: path, Errno(EPERM)))
    }

    @Test func withoutDirect_isRefused() throws {
        let file = try TemporaryFile(size: 4096)
        #expect(throws: BlockError.nativeNeedsDirect(path: file.path)) { _ = try RawImage.open(RawImageOptions(path: file.path, engine: .native)) }
        #expect(BlockError.nativeNeedsDirect(path: "d").description == "aio=native of drive 'd' needs direct=on")
    }

    /// AIO stops working while the image is open, or the file system takes no flushes: what was submitted goes to the threads.
    @Test(arguments: [EPERM, EINVAL]) func aioForbiddenLater_operationsMoveToThreads(_ code: Int32) throws {
        let file = try TemporaryFile(size: 1 << 20)
        let path = file.path
        let outcome = Mutex<[Int32]>([])
        let thread = try OSThread.start(name: "filtered", stackSize: 1 << 20) {
            guard let image = try? RawImage.open(RawImageOptions(path: path, direct: true, engine: .native)) else { return }
            guard blocktest_forbid_call(blocktest_io_submit, code) == 0 else { return }
            let memories = (0..<20).map { _ in RequestMemory(count: 4096) }
            for round in 0..<2 {
                for (index, memory) in memories.enumerated() {
                    memory.bytes = Array(repeating: UInt8(index + round), count: 4096)
                    image.submit(memory.operation(.write, at: UInt64(index) * 8192))
                }
                image.submit(BlockOperation(.flush, token: 1))
                image.drain { _, result in outcome.withLock { $0.append(result) } }
                withExtendedLifetime(memories) {}
            }
        }
        thread.join()
        let results = outcome.withLock { $0 }
        #expect(results.count == 42 && results.filter { $0 == 0 }.count == 2 && results.filter { $0 == 4096 }.count == 40)
        let content = try file.content
        for index in 0..<20 { #expect(content[index * 8192] == UInt8(index + 1)) }
    }
}
