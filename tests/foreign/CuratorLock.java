import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.retry.RetryOneTime;

/**
 * Holds a lock with Curator's InterProcessMutex again and again, and says when it did.
 *
 * Arguments: hosts, lock, how often. On Linux, nanoTime is CLOCK_MONOTONIC, as in Locklab's histories.
 */
class CuratorLock {
    public static void main(String[] arguments) throws Exception {
        try (CuratorFramework client = CuratorFrameworkFactory.newClient(arguments[0], new RetryOneTime(100))) {
            client.start();
            InterProcessMutex mutex = new InterProcessMutex(client, arguments[1]);
            for (int hold = 0; hold < Integer.parseInt(arguments[2]); hold++) {
                mutex.acquire();
                try {
                    long began = System.nanoTime();
                    Thread.sleep(5);
                    System.out.println(began + " " + System.nanoTime());
                } finally {
                    mutex.release();
                }
            }
        }
    }
}
